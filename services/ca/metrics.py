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
LIMITED = Counter("seine_ca_limited", "Requests refused for their number.", ["limit"])
SIGN_SECONDS = Histogram(
    "seine_ca_sign_seconds",
    "Time to wait for the signing thread, sign and check.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0),
)
RELOADS = Counter("seine_ca_reloads", "Changes of the files noticed.", ["what", "result"])
