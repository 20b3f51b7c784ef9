from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz

from libs.model.providers import Authorizer
from libs.model.security import AccessRule, Action
from libs.xds.generate.filters import authorizers, rbac
from libs.xds.generate.filters.authorizers import Reachable
from tests.support import mesh as rows


def test_an_authorizer_hears_of_its_own_rules_only() -> None:
    """The names of providers may begin alike, and `-` may be part of one."""
    named = {}
    for provider in ("ask", "ask-more", "asking"):
        config = ExtAuthz()
        to = Reachable(Authorizer(name=provider, host="a.example", port=9000), "cluster")
        assert authorizers.http_filter(to).typed_config.Unpack(config)
        prefix = config.filter_enabled_metadata.value.string_match.prefix
        policy = rows.access_policy(
            "p", action=Action.CUSTOM, provider=provider, rules=(AccessRule(),)
        )
        named[provider] = (prefix, rbac.policy_name(policy, 0))
    for provider, (prefix, _) in named.items():
        heard = [other for other, (_, rule) in named.items() if rule.startswith(prefix)]
        assert heard == [provider]
