from tests.test_tags import *  # noqa: F403
