"""Training: recipe in, checkpoint out (`train_recipe` in `mmoe_embed.train.loop`)."""
