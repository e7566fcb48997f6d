"""The built-in data set: outdoor and indoor scenes drawn by a procedure, with ADE20K class numbers.

Colour alone does not give the class here: walls, floors, ceilings, doors and wood of a room share one colour
family, buildings, roads and pavements share greys and browns, clothes, cars, curtains and sofas have any
colour, and the light changes from picture to picture. Shape, texture, place and company do.
"""

from sceneparse.data.scenes.classes import scenes_label_set
from sceneparse.data.scenes.drawing import draw_scene
from sceneparse.data.scenes.writing import scene_seeds, write_scenes

__all__ = ["draw_scene", "scene_seeds", "scenes_label_set", "write_scenes"]
