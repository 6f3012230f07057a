"""imbalanced-learn: `LatentSampler` fills rare classes up, in a pipeline before a classifier.

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
    """All rows but those of one class, of which only the first few stay."""
    return np.delete(X, np.flatnonzero(y == label)[keep:], 0), np.delete(y, np.flatnonzero(y == label)[keep:])


# Rows that are images: an autoencoder for them, and pixels in [0, 1].
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.5, random_state=0, stratify=y)
X_train, y_train = rare(X_train, y_train, label=8, keep=5)
for sampler in (None, LatentSampler("digits", "smote(k=3)", random_state=0)):
    model = make_pipeline(sampler, LogisticRegression(max_iter=500)).fit(X_train, y_train)
    found = model.score(X_test[y_test == 8], y_test[y_test == 8])
    print(f"eights found, with 5 to learn from, sampler {sampler}: {found:.3f}")

# Rows of any numbers: a small autoencoder is trained on them.
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
X_train, y_train = rare(X_train, y_train, label=0, keep=10)
for sampler in (None, LatentSampler(random_state=0)):
    model = make_pipeline(sampler, StandardScaler(), LogisticRegression(max_iter=500)).fit(X_train, y_train)
    accuracy = balanced_accuracy_score(y_test, model.predict(X_test))
    print(f"balanced test accuracy, sampler {sampler}: {accuracy:.3f}")
