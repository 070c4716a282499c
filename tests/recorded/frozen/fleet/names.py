from __future__ import annotations
CANCEL_EVENT = 'cancel'
ORDINALS = 10000

def wave_id(batch_id: int, number: int) -> str:
    return f'wave-{batch_id}-{number}'

def teardown_id(batch_id: int) -> str:
    return f'teardown-{batch_id}'

def machine(batch_id: int, ordinal: int) -> str:
    return f'powerlift-vm-{batch_id}-{ordinal:04}'
