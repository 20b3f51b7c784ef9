"""Metrics of discovery, under Istio's names where Istio has one."""

from prometheus_client import Counter, Gauge, Histogram

SERVICES = Gauge("pilot_services", "Services known to the mesh.")
VIRTUAL_SERVICES = Gauge("pilot_virt_services", "VirtualServices in use.")
NO_INSTANCES = Gauge("pilot_eds_no_instances", "Ports of services that have no endpoint.")
NO_POD = Gauge("endpoint_no_pod", "Endpoints of Services that are no pod's.")
NOT_READY = Gauge("pilot_endpoint_not_ready", "Endpoints that are not ready.")
NO_SERVICE = Gauge("pilot_no_ip", "Workloads with a proxy that stand for no service.")
INBOUND_CONFLICTS = Gauge(
    "pilot_conflict_inbound_listener", "Ports of workloads that several services name."
)
TCP_CONFLICTS = Gauge(
    "pilot_conflict_outbound_listener_tcp_over_current_tcp",
    "Ports of raw TCP whose address another service has.",
)
SAME_HOSTS = Gauge(
    "pilot_duplicate_envoy_clusters", "Services that a namespace declares more than once."
)
DNS_WITHOUT_ENDPOINTS = Gauge(
    "pilot_dns_cluster_without_endpoints", "Ports of services by DNS that have no endpoint."
)
SAME_DOMAINS = Gauge("pilot_vservice_dup_domain", "Hosts of VirtualServices that an older one has.")
SAME_SUBSETS = Gauge("pilot_destrule_subsets", "Subsets of DestinationRules that an older one has.")
CLUSTERS = Gauge("istiod_managed_clusters", "Clusters that are followed.", ("cluster_type",))
SYNC_ERRORS = Counter(
    "controller_sync_errors",
    "Lists and watches that brought no answer, or none of use.",
    ("type", "cluster"),
)
JWKS_FETCHED = Counter(
    "pilot_jwks_resolver_network_fetch_success", "Sets of keys that were fetched."
)
JWKS_FAILED = Counter(
    "pilot_jwks_resolver_network_fetch_fail", "Sets of keys that could not be fetched."
)
APPLY_SECONDS = Histogram(
    "pilot_pushcontext_init_seconds",
    "Time to make the next mesh of what has changed.",
    buckets=(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
)
CONFIG_EVENTS = Counter(
    "pilot_k8s_cfg_events", "Configuration that came or went.", ("type", "event")
)
REJECTED = Gauge("pilot_total_rejected_configs", "Resources that are not used because of errors.")
PROBLEMS = Gauge("seine_problems", "What is wrong with the configuration.", ("severity",))
FILE_OVERFLOWS = Counter(
    "seine_file_change_overflows", "Times that too many files changed and all were read again."
)
SUBSCRIBERS = Gauge("seine_feed_subscribers", "Streams of the mesh that are open.")
FEED_OVERFLOWS = Counter(
    "seine_feed_overflows", "Streams ended because the subscriber did not keep up."
)
KEY_FETCHES = Counter("seine_key_fetches", "Fetches of the keys of issuers of tokens.", ("result",))
KEY_SOURCES_OVER = Gauge(
    "seine_key_sources_over_limit", "Key sets that are not fetched because there are too many."
)
NAME_LOOKUPS = Counter(
    "seine_name_lookups", "Lookups of the names of networks' gateways.", ("result",)
)
NAMES_OVER = Gauge(
    "seine_names_over_limit", "Names of gateways that are not looked up: there are too many."
)
WATCH_EVENTS = Counter(
    "seine_watch_events",
    "What happened to the lists and watches of each kind.",
    ("collection", "event"),
)
MESH_STALE = Gauge(
    "seine_mesh_stale_seconds",
    "Age of a mesh that is served from an earlier life; 0 when the source has answered.",
)
DISCOVERY_CACHE = Counter(
    "seine_discovery_cache_operations", "Operations of the shared cache.", ("outcome",)
)
STATUS_WRITES = Counter(
    "seine_discovery_status_writes", "Writes of resources' conditions.", ["outcome"]
)
STATUS_DISPUTES = Gauge(
    "seine_discovery_status_disputes",
    "Objects whose status somebody else writes, too, and otherwise.",
    ["what"],
)
REGISTRATIONS = Counter("auto_registration_success", "Machines that were registered.")
REGISTRATION_UPDATES = Counter(
    "auto_registration_updates", "Registered machines that connected again, or elsewhere."
)
UNREGISTRATIONS = Counter(
    "auto_registration_unregister", "Machines that are not connected anymore."
)
REGISTRATION_DELETES = Counter("auto_registration_deletes", "Entries of machines removed.")
REGISTRATION_ERRORS = Counter(
    "auto_registration_errors", "Entries of machines that could not be written."
)
MACHINES_LEFT_OUT = Counter(
    "seine_machines_left_out", "Machines not registered because their group has too many."
)
STATUS_LOOKS = Counter(
    "seine_discovery_status_looks", "Looks at all proxies, because there are others than before."
)
FINDINGS_REPLICAS = Gauge(
    "seine_discovery_findings_replicas", "Replicas of config-push whose findings are followed."
)
STATUS_REPLICAS = Gauge(
    "seine_discovery_status_replicas", "Replicas of config-push that the leader follows."
)
