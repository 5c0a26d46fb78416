"""Logistic regression with an L2 penalty, fitted by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Logistic", "fit"]

Floats = npt.NDArray[np.float64]

PENALTY = 1.0
"""Weight of half the sum of the squared weights: as much as one observation per standardised feature."""
STEPS = 25
CLIP = 4.0
"""Standardised features beyond this are cut: one extreme cell must not decide a fit, nor be extrapolated to."""


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted model: the log-odds are ``intercept + standardised(x) @ weights``."""

    mean: Floats
    spread: Floats
    intercept: float
    weights: Floats

    def standardised(self, x: Floats) -> Floats:
        """Return features (N, F) in units of the spread of the training data, clipped."""
        return np.clip((x - self.mean) / self.spread, -CLIP, CLIP)

    def probability(self, x: Floats) -> Floats:
        """Return (N,) probabilities, 0..1."""
        return _sigmoid(self.intercept + self.standardised(x) @ self.weights)

    def shares(self, x: Floats) -> Floats:
        """Return (N, F): what each feature adds to the log-odds of a cell, against an average one."""
        return self.standardised(x) * self.weights


def fit(x: Floats, y: npt.NDArray[np.bool_]) -> Logistic:
    """Fit a logistic regression with a ridge penalty on the weights, not on the intercept.

    Newton's method, which for this likelihood is iteratively reweighted least squares (Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, 2009, section 4.4.1), with the ridge estimator of le Cessie and van
    Houwelingen (Applied Statistics 41, 1992). The penalised likelihood is concave, so halving a step that does not
    improve it leads to its one maximum from any start: equal data gives equal weights.

    Parameters
    ----------
    x : (N, F) float
    y : (N,) bool
        The outcomes; both must occur.
    """
    mean, spread = x.mean(0), x.std(0)
    model = Logistic(mean, np.where(spread > 1e-9, spread, 1.0), 0.0, np.zeros(x.shape[1]))
    design = np.column_stack([np.ones(len(x)), model.standardised(x)])
    ridge = np.r_[0.0, np.full(x.shape[1], PENALTY)]
    weights = np.zeros(design.shape[1])
    loss = _loss(design, y, weights, ridge)
    for _ in range(STEPS):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - y) + ridge * weights
        hessian = (design * np.maximum(p * (1 - p), 1e-9)[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        while (new := _loss(design, y, weights - step, ridge)) > loss and np.abs(step).max() > 1e-8:
            step /= 2
        if np.abs(step).max() <= 1e-8:
            break
        weights, loss = weights - step, new
    return Logistic(model.mean, model.spread, float(weights[0]), weights[1:])


def _loss(design: Floats, y: npt.NDArray[np.bool_], weights: Floats, ridge: Floats) -> float:
    odds = design @ weights
    return float(np.logaddexp(0, odds).sum() - odds[y].sum() + 0.5 * (ridge * weights**2).sum())


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * odds)))
