"""From files to values: YAML is read, checked, and becomes an Operation with checks that are ready to run.

`loader.load` is the way in. What is wrong in a file becomes a `Problem` with file, line and key path, all of
them at once; a problem switches off the smallest part that encloses it, and the rest runs.

    files.py       which files there are, whether they may be trusted, whether they have changed
    yaml.py        bytes to a tree of plain values, with line marks
    schema.py      the keys of opsdash.yaml and checks/*.yaml; jsonschema.py describes them to editors
    parts.py       a tree to its valid parts, and a problem for each that is not
    templates.py   `{host}`, filled in once
    secrets.py     `${NAME}`, `${file:PATH}`, `${cmd:ARGV}`, and the mask that hides their values
    build.py       one component's parts to checks, providers and bindings
    link.py        what parts say of each other: references, responses, cycles
    places.py      paths that every client must understand alike; listening.py   addresses
    workspace.py   opsdash.yaml to people and settings
    loader.py      all of it, by difference
    starter.py     what `opsdash init` writes
"""
