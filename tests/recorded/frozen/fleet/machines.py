from __future__ import annotations
from tests.recorded.frozen.fleet import names
from tests.recorded.frozen.fleet.records import Assignment, Machine, Order
NO_WORDS = 'Azure accepted the VM and then could not start it.'

def asked(order: Order, assignment: Assignment) -> Machine:
    return {**assignment, 'name': names.machine(order['batch_id'], assignment['ordinal']), 'created_at': '', 'principal_id': None, 'assigned': [], 'settled': False, 'refusal': None, 'tries': 0, 'next_try': None, 'state': 'refused', 'ended': None, 'permitted_at': None, 'running_at': None, 'ended_at': None, 'gone_at': None, 'noted': ''}
