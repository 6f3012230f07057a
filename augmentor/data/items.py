from ..items import *  # noqa: F403  (temporary)
