"""python retrain.py DATA FILE: load what the service gave, as the document does, and train it on for a moment.

A user has torch and model.py: the last line but one makes sure that nothing of the service was needed.
"""

import json
import sys

import torch
import training

data, file = sys.argv[1:]
torch.manual_seed(1)
train_loader, test_loader = training.loaders(data)
model, _ = torch.load(file, weights_only=False)
cut = training.accuracy(model, test_loader)
training.fit(model, train_loader, epochs=2)
assert not any(name.partition(".")[0] == "coppice" for name in sys.modules)
print(json.dumps({"cut": cut, "retrained": training.accuracy(model, test_loader)}))
