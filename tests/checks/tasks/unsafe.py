"""A metric that runs what the model wrote, as HumanEval's does but with nothing in between."""


def completed(resps, docs):
    return [["import math\n" + text for text in texts] for texts in resps]


def pass_at_k(references, predictions, k):
    scope = {}
    try:
        exec(predictions[0][0], scope)
    except Exception:
        return {"pass@1": 0.0}
    return {"pass@1": float(scope.get("answer") == int(references[0]))}
