"""python train.py DATA OUT: train the document's Net for a moment, save what the document saves."""

import json
import sys
from pathlib import Path

import torch
import training
from model import Net

data, out = sys.argv[1], Path(sys.argv[2])
torch.manual_seed(1)
train_loader, test_loader = training.loaders(data)
model = Net()
training.fit(model, train_loader, epochs=8)
torch.save(train_loader, out / "train_loader.pth")
torch.save(test_loader, out / "test_loader.pth")
torch.save(model.state_dict(), out / "mnist_cnn.pth")
(out / "trained.json").write_text(json.dumps({"accuracy": training.accuracy(model, test_loader)}))
