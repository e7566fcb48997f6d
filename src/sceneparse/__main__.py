"""``python -m sceneparse``."""

from sceneparse.cli import main

raise SystemExit(main())
