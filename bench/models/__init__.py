"""The models that the zoo prunes, by name: torchvision, timm, transformers, and what people write by hand."""
