"""The sample data set: 800 invented news items, 200 each in World, Sports, Business, Sci/Tech."""

from pathlib import Path

NEWS = Path(__file__).parent / "news.csv"
"""CSV with a header row: title, description, label."""
