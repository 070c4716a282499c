"""The experiment's trial: its source text travels through the database to the VMs."""

from typing import Any


def run_trial(trial: Any) -> None:
    """Train one model on one task, and log how well and how fast.

    Measures: `score` (accuracy, or R² for regression) and `auc` (classification only) on a held-out
    quarter of the data, and `fit_seconds`. A replicate is another split. Self-contained, since
    a VM sees the text of this function and nothing else of this file.
    """
    import time

    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = trial.task.problem == "regression"
    seed = trial.replicate_num
    x, y = trial.task.data()
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=None if regression else y
    )
    model: Any
    if trial.method == "forest":
        forest = RandomForestRegressor if regression else RandomForestClassifier
        model = forest(n_estimators=50, random_state=seed)
    elif trial.method == "linear":
        linear = Ridge() if regression else LogisticRegression(max_iter=1000)
        model = make_pipeline(StandardScaler(), linear)
    else:
        raise ValueError(f"there is no method {trial.method!r}")

    begin = time.perf_counter()
    model.fit(x_train, y_train)
    trial.log("fit_seconds", time.perf_counter() - begin)
    trial.log("score", model.score(x_test, y_test))
    if not regression:
        chances = model.predict_proba(x_test)
        binary = trial.task.problem == "binary"
        auc = roc_auc_score(y_test, chances[:, 1] if binary else chances, multi_class="ovr")
        trial.log("auc", auc)
