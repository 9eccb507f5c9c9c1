"""Stands for the axes of matplotlib, which need not be installed, and remembers what was drawn."""

import types

import numpy as np


class Axes:
    def __init__(self):
        self.lines, self.labels, self.bands, self.legends = [], [], [], 0
        self.texts, self.arrows, self.images, self.patches = [], [], [], []
        self.properties = {}
        self.figure = types.SimpleNamespace(dpi=100, colorbar=lambda image, **style: self.images.append(style["label"]))

    def plot(self, x, y, label=None, **style):
        self.lines.append((np.asarray(x), np.asarray(y)))
        self.labels.append(label)
        return [self] * (1 if np.ndim(y) == 1 else np.shape(y)[1])

    def get_color(self):
        return "C0"

    def fill_between(self, x, low, high, **style):
        self.bands.append((low, high))

    def legend(self):
        self.legends += 1

    def set(self, **properties):
        self.properties.update(properties)

    def get_window_extent(self):
        return types.SimpleNamespace(width=400, height=400)

    def imshow(self, values, **style):
        self.images.append(values)

    def fill(self, x, y, facecolor, **style):
        self.patches.append((round(np.mean(x), 6), round(np.mean(y), 6), facecolor))

    def text(self, x, y, text, **style):
        self.texts.append((round(x), round(y), text))

    def hlines(self, *args, **style):
        pass

    vlines = hlines

    def quiver(self, x, y, u, v, color, **style):
        where = np.round([x, y]).astype(int)
        self.arrows = list(zip(*where.tolist(), *np.round([u, v, np.asarray(color)[:, 3]], 6).tolist(), strict=True))
