"""Text for people: made safe, measured, coloured; quantities there and back.

It takes values and text, and gives text. Pure.

- `escaping`: text from a cache made safe to print; JSON. `cells`: text measured in the cells of a
  terminal. `style`: what a colour means. `quantities`: sizes, counts and durations.
  `references`: image references, completed as Docker does it. `yaml_errors`: what is wrong with a
  YAML document.
"""
