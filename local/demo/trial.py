"""The trial function of the demo. The VMs get its source through the database."""

from typing import Any


def run_trial(trial: Any) -> None:
    """Train one model on one task, and log its score and training time.

    Measures: `score` (accuracy, or R² for regression) and `auc` (classification only) on a held-out
    quarter of the data, and `fit_seconds`. Each replicate uses a different split. Imports are
    inside the function, since only the function's source is sent to a VM.
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
        raise ValueError(f"unknown method {trial.method!r}")

    begin = time.perf_counter()
    model.fit(x_train, y_train)
    trial.log("fit_seconds", time.perf_counter() - begin)
    trial.log("score", model.score(x_test, y_test))
    if not regression:
        chances = model.predict_proba(x_test)
        binary = trial.task.problem == "binary"
        auc = roc_auc_score(y_test, chances[:, 1] if binary else chances, multi_class="ovr")
        trial.log("auc", auc)
