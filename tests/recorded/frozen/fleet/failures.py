from __future__ import annotations
from tests.recorded.frozen.fleet.records import Action, Failure
MESSAGE_LIMIT = 400

def explain(code: str, message: str) -> Failure:
    return failure(code, message, 'replace', '')

def failure(code: str, message: str, action: Action, advice: str, retry_after: float | None=None) -> Failure:
    return {'code': code, 'message': message[:MESSAGE_LIMIT], 'action': action, 'advice': advice, 'retry_after': retry_after, 'scope': '', 'cool_down': 0.0, 'passing': False}
