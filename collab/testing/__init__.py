"""The conformance kit: does a plugin keep its contract? For the tests of anybody's plugin.

    from collab.testing import check_policy

    def test_my_policy_keeps_its_contract() -> None:
        check_policy(MyPolicy(patience=3))

Policies and scenarios are tried with `Speaker`s, which need no server: a few milliseconds an
episode. What breaks the contract is an `AssertionError` that says where.
"""

from collab.testing.endpoint import check_endpoint
from collab.testing.policy import check_policy
from collab.testing.scenario import check_scenario
from collab.testing.speaker import Speaker

__all__ = ["Speaker", "check_endpoint", "check_policy", "check_scenario"]
