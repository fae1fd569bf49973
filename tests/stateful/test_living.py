"""The state machine of a guest that lives, on the simulated host."""

from hypothesis import HealthCheck, settings

from tests.stateful.living import Living

TestLiving = Living.TestCase
TestLiving.settings = settings(max_examples=80, stateful_step_count=25, suppress_health_check=list(HealthCheck))
