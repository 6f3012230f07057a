"""imbalanced-learn: `LatentSampler` oversamples rare classes, in a pipeline before a classifier.

python imbalanced_learn.py
"""

import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from augmentor import LatentSampler


def rare(X, y, label, keep):
    """Return all rows, but of one class only the first `keep`."""
    return np.delete(X, np.flatnonzero(y == label)[keep:], 0), np.delete(y, np.flatnonzero(y == label)[keep:])


# Rows that are images with pixels in [0, 1], and an autoencoder for them.
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.5, random_state=0, stratify=y)
X_train, y_train = rare(X_train, y_train, label=8, keep=5)
for sampler in (None, LatentSampler("digits", "smote(k=3)", random_state=0)):
    model = make_pipeline(sampler, LogisticRegression(max_iter=500)).fit(X_train, y_train)
    found = model.score(X_test[y_test == 8], y_test[y_test == 8])
    print(f"recall of the digit 8 with 5 training images, sampler {sampler}: {found:.3f}")

# Rows of numbers: a small autoencoder is trained on them.
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
X_train, y_train = rare(X_train, y_train, label=0, keep=10)
for sampler in (None, LatentSampler(random_state=0)):
    model = make_pipeline(sampler, StandardScaler(), LogisticRegression(max_iter=500)).fit(X_train, y_train)
    accuracy = balanced_accuracy_score(y_test, model.predict(X_test))
    print(f"balanced test accuracy, sampler {sampler}: {accuracy:.3f}")
