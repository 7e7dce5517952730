"""Eight hundred invented news items in four classes, written for this project: 200 each of World, Sports, Business and Sci/Tech."""

from pathlib import Path

NEWS = Path(__file__).parent / "news.csv"
"""CSV with a header row: title, description, label."""
