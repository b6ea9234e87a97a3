"""A metric that runs what the model wrote, as HumanEval's does but with nothing in between."""


def pass_at_1(references, predictions):
    scope = {}
    try:
        exec(predictions[0], scope)
    except Exception:
        return 0.0
    return float(scope.get("answer") == int(references[0]))
