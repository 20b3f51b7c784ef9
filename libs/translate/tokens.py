"""Token policies: one row for each RequestAuthentication, with the keys that are known now.

Fetching keys is discovery's business: a rule names the key set that it stands on, and is derived
again whenever that arrives or changes. Whose tokens a request needs is said by access policies.
"""

from libs.api import reasons
from libs.api.problem import Problem
from libs.api.security import request_authentication as api
from libs.api.security.key_set import KeySet, source
from libs.model.mesh import Key, Table
from libs.model.tokens import ClaimHeader, TokenHeader, TokenPolicy, TokenRule
from libs.translate import key_sets
from libs.translate.attachments import attached
from libs.translate.state import Derived
from libs.translate.view import View

DEFAULT_TIMEOUT = 5_000


def derive(view: View, resource: api.RequestAuthentication) -> Derived:
    """Return the row of a RequestAuthentication."""
    metadata, spec = resource.metadata, resource.spec
    to = attached(resource.ref, spec.target_ref, spec.target_refs)
    if to.targets is None:
        return Derived(problems=to.problems)
    problems = list(to.problems)
    rules = [_rule(rule, view) for rule in spec.jwt_rules]
    for index, (_, fault) in enumerate(rules):
        if fault:
            path = f"spec.jwtRules[{index}]"
            problems.append(Problem(resource.ref, path, reasons.KEYS_UNAVAILABLE, fault))
    row = TokenPolicy(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector.match_labels if spec.selector else {},
        targets=to.targets,
        rules=tuple(rule for rule, _ in rules),
    )
    return Derived(rows=((Key(Table.TOKEN_POLICY, row.ref), row),), problems=tuple(problems))


def _rule(rule: api.JwtRule, view: View) -> tuple[TokenRule, str]:
    """Return the rule, and what is wrong with its keys."""
    name = "" if rule.jwks else source(rule.jwks_uri or "", rule.issuer or "")
    keys, fault = _fetched(name, view) if name else _written(rule.jwks)
    made = TokenRule(
        issuer=rule.issuer or "",
        audiences=rule.audiences,
        keys=keys,
        source=name,
        headers=tuple(TokenHeader(it.name, it.prefix) for it in rule.from_headers),
        parameters=rule.from_params,
        cookies=rule.from_cookies,
        payload_header=rule.output_payload_to_header,
        claim_headers=tuple(
            ClaimHeader(it.header, it.claim) for it in rule.output_claim_to_headers
        ),
        forward=rule.forward_original_token,
        timeout=rule.timeout or DEFAULT_TIMEOUT,
        space_delimited_claims=rule.space_delimited_claims,
        required=rule.presence is api.Presence.REQUIRED,
    )
    return made, fault


def _fetched(name: str, view: View) -> tuple[str, str]:
    found = view.resource(KeySet, "", name)
    if found is None:
        return "", "the issuer's keys have not been fetched: no token of it is valid"
    if found.fault and not found.keys:
        return (
            "",
            f"the issuer's keys cannot be fetched, and no token of it is valid: {found.fault}",
        )
    if found.fault:
        return found.keys, f"the keys are old, as they cannot be fetched again: {found.fault}"
    return found.keys, ""


def _written(jwks: str) -> tuple[str, str]:
    try:
        return key_sets.public(jwks, secrets=True), ""
    except key_sets.KeySetError as error:
        return "", f"no token of this issuer is valid: {error}"
