"""Metrics of Istio's that nobody exports here, each with the reason."""

ABSENT = (
    ("`pilot_envoy_filter_status`", "conditions of the EnvoyFilter and `/debug/patches` say it"),
    ("`xds_cache_*`", "`seine_push_generated_total` by `origin` counts what was made and found"),
    ("`pilot_worker_queue_*`", "there are no queues of controllers: one loop takes all changes"),
    ("`galley_validation_config_load_error`", "webhook configurations are followed, not loaded"),
    ("`remote_cluster_sync_timeouts_total`", "one cluster is followed: that of the control plane"),
    ("`istio_agent_outgoing_latency`", "not measured"),
    ("`istio_agent_num_file_watcher_failures_total`", "files are read again, not watched"),
)
