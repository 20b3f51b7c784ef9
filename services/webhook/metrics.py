"""Metrics of the webhook: Istio's names where Istio has one."""

from prometheus_client import Counter, Gauge, Histogram

from libs.runtime.metrics import Total

BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 1.0)

INJECTIONS = Counter("sidecar_injection_requests", "Pods that the injector was asked about.")
INJECTED = Counter("sidecar_injection_success", "Pods that were given a proxy.")
FAILED = Counter("sidecar_injection_failure", "Pods that were refused, or could not be read.")
SKIPPED = Counter(
    "sidecar_injection_skip", "Pods that the injector let through as they are.", ["reason"]
)
INJECTION_SECONDS = Histogram(
    "sidecar_injection_time_seconds", "From request to answer, without the wire.", buckets=BUCKETS
)
EVENTS = Counter("seine_webhook_events", "Events about pods that were not injected.", ["result"])
CONFLICTING_NAMESPACES = Gauge(
    "seine_webhook_conflicting_namespaces",
    "Namespaces with both labels, istio-injection and istio.io/rev.",
)
ASKED_IN_VAIN = Gauge(
    "seine_webhook_namespaces_asking_in_vain",
    "Namespaces whose labels ask for an injector that is not there.",
    ["reason"],
)
NOT_ASKED_ABOUT = Gauge(
    "seine_webhook_pods_not_asked_about",
    "Pods without a proxy whose labels speak of injection, but of which no webhook ever heard.",
    ["reason"],
)
PODS_PASSED_OVER = Counter(
    "seine_webhook_pods_passed_over",
    "Changes of pods that were not looked at, because too many are known already.",
)
VALIDATION_PASSED = Total(
    "galley_validation_passed", "Resources let through.", ["group", "version", "resource"]
)
VALIDATION_FAILED = Total(
    "galley_validation_failed",
    "Resources refused, by the reason of their first error.",
    ["group", "version", "resource", "reason"],
)
VALIDATION_HTTP_ERRORS = Total(
    "galley_validation_http_error", "Requests for validation that were no reviews.", ["status"]
)
VALIDATION_CONFIG_UPDATES = Total(
    "galley_validation_config_updates", "Configurations of validation that were written."
)
VALIDATION_CONFIG_ERRORS = Total(
    "galley_validation_config_update_error",
    "Configurations of validation that could not be written.",
    ["reason"],
)
PATCH_ATTEMPTS = Counter(
    "webhook_patch_attempts", "Attempts to write a webhook configuration.", ["name"]
)
PATCH_RETRIES = Counter(
    "webhook_patch_retries", "Attempts that come again, as the API server gave no answer.", ["name"]
)
PATCH_FAILURES = Counter(
    "webhook_patch_failures",
    "Webhook configurations that were left as they are.",
    ["name", "reason"],
)
VALIDATION_ENFORCED = Gauge(
    "seine_webhook_validation_enforced",
    "1 if nothing is stored unless this webhook has let it through.",
    ["webhook"],
)
REFUSED = Counter("seine_webhook_refused", "Requests that were no admission review.", ["reason"])
PATCHED = Counter(
    "seine_webhook_ca_bundles_patched", "Webhook configurations whose caBundle was mended."
)
FORBIDDEN = Gauge(
    "seine_webhook_forbidden_configurations",
    "Webhook configurations that lead here, but whose caBundle may not be mended.",
)
CERTIFICATE_EXPIRY = Gauge(
    "seine_webhook_certificate_expiry_timestamp",
    "When the certificate of the port expires, in Unix seconds.",
)
