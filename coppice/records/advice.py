"""What to send instead: words about refused files that the service's two sides share."""

#: An index of shards, or one shard: the tensors are in several files.
SHARDS = (
    "Its tensors are in several files. Merge them where they are: import glob, safetensors.torch as st; tensors = {}; "
    '[tensors.update(st.load_file(file)) for file in glob.glob("model-*.safetensors")]; '
    'st.save_file(tensors, "model.safetensors"). Send that file.'
)
