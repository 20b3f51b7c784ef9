"""Metrics of the CA: Istio's names where Istio has one."""

from prometheus_client import Counter, Gauge, Histogram

from libs.runtime.metrics import Total

CSRS = Total("citadel_server_csr_count", "Certificate requests received.")
CSR_PARSING_ERRORS = Total(
    "citadel_server_csr_parsing_err_count", "Requests refused for their CSR."
)
CSR_SIGN_ERRORS = Total(
    "citadel_server_csr_sign_err_count", "Requests refused or failed at signing.", ["error"]
)
ID_EXTRACTION_ERRORS = Total(
    "citadel_server_id_extraction_err_count", "Credentials from which no identity could be read."
)
AUTHENTICATION_FAILURES = Total(
    "citadel_server_authentication_failure_count", "Requests whose credential proved nothing."
)
ISSUED = Total("citadel_server_success_cert_issuance_count", "Certificates issued.")
ROOT_EXPIRY = Gauge(
    "citadel_server_root_cert_expiry_timestamp", "When the first root expires, in Unix seconds."
)
ROOT_EXPIRY_SECONDS = Gauge(
    "citadel_server_root_cert_expiry_seconds", "Seconds until the first root expires."
)
CHAIN_EXPIRY = Gauge(
    "citadel_server_cert_chain_expiry_timestamp", "When the signing chain expires, Unix seconds."
)
CHAIN_EXPIRY_SECONDS = Gauge(
    "citadel_server_cert_chain_expiry_seconds", "Seconds until the signing chain expires."
)
LIFE_LEFT = Gauge(
    "seine_ca_life_left",
    "Share of its life that the certificate which signs, or one above it, has left.",
)
PLUGGED_IN = Gauge("seine_ca_plugged_in", "1 while what signs is plugged in: nobody rotates it.")
REVOCATION_IGNORED = Gauge(
    "seine_ca_revocation_ignored",
    "1 while what is plugged in has a list of revoked certificates, which nobody reads.",
)
LIMITED = Counter("seine_ca_limited", "Requests refused for their number.", ["limit"])
SIGN_SECONDS = Histogram(
    "seine_ca_sign_seconds",
    "Time to wait for the signing thread, sign and check.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0),
)
RELOADS = Counter(
    "seine_ca_reloads", "Changes of what signs or verifies noticed.", ["what", "result"]
)
UNREVIEWED = Counter(
    "seine_ca_unreviewed", "Requests sent away because the API server could not be asked."
)
PASSED_ON = Counter("seine_ca_passed_on", "Requests that config-push brought for others.")
IMPERSONATIONS = Counter(
    "seine_ca_impersonations", "Certificates that node agents asked for, by answer.", ["result"]
)
ROTATIONS = Counter("seine_ca_rotations", "Steps of rotating the root.", ["step"])
SLOTS = Gauge("seine_ca_roots", "Roots in the bundle: signing, next or retiring.", ["slot"])
UNPROVED = Gauge(
    "seine_ca_rotation_waiting",
    "1 while a root waits for proof that everybody trusts it.",
)
NOT_TRUSTING = Gauge(
    "seine_ca_proxies_without_root",
    "Connected proxies that do not report the root which waits for proof.",
)
ROOT_MAPS = Counter("seine_ca_root_config_maps", "Root ConfigMaps written, by why.", ["reason"])
LEADER = Gauge("seine_ca_leader", "1 while this replica writes what replicas share.")
