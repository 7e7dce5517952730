"""The configuration: one section per step, validated once and frozen."""
