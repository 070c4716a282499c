"""Texts that trials leave as their errors, and what of each is shown."""

SQLALCHEMY = """EXCEPTION: openml, adult, m
Traceback (most recent call last):
  File "store.py", line 9, in add
    raise inner
ValueError: inner

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "trial_run_fn.py", line 2, in trial
    trial.log("m", "x")
    ~~~~~~~~~^^^^^^^^^^
sqlalchemy.exc.DataError: (psycopg.DataError) value too long
DETAIL: it is long
[SQL: INSERT INTO measure_outcome]
(Background on this error at: https://sqlalche.me/e/20/9h9h)"""
SYNTAX = """Traceback (most recent call last):
  File "startup.py", line 3, in run
    compile(text)
  File "trial_run_fn.py", line 1
    def f(trial
         ^
SyntaxError: '(' was never closed"""
INDENTED = """Traceback (most recent call last):
  File "trial_run_fn.py", line 2, in trial
AssertionError: lists differ
  first
"""
ERROR_MESSAGES = [
    (SQLALCHEMY, "sqlalchemy.exc.DataError: (psycopg.DataError) value too long"),
    (SYNTAX, "SyntaxError: '(' was never closed"),
    (INDENTED, "AssertionError: lists differ"),
    (
        "Timeout failure: the trial was killed after 1 s.\n",
        "Timeout failure: the trial was killed after 1 s.",
    ),
    ("first\nlast", "last"),
]
