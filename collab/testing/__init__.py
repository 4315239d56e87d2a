"""The conformance kit: check in the tests of a plugin that it keeps its contract.

    from collab.testing import check_policy

    def test_my_policy_keeps_its_contract() -> None:
        check_policy(MyPolicy(patience=3))

Policies and scenarios are played with `Speaker`s, which need no server and take a few milliseconds
per episode. A broken contract raises an `AssertionError` that names the broken rule.
"""

from collab.testing.endpoint import check_endpoint
from collab.testing.policy import check_policy
from collab.testing.scenario import check_scenario
from collab.testing.speaker import Speaker

__all__ = ["Speaker", "check_endpoint", "check_policy", "check_scenario"]
