from tests.stack.conftest import _kafka, _postgres, kafka, postgres

__all__ = ["_kafka", "_postgres", "kafka", "postgres"]
