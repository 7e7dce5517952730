"""Why a model answers as it does: contributions of words, occlusion, and attention."""
