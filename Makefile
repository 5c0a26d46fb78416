# Two commands do everything:  make demo  (set up, then see it work)   make test  (set up, then run the tests)
# More: make lint | docs | screenshots | benchmarks | test-slow | test-faults | test-roundtrips | test-pyqt6 | format | clean

# `make demo VENV=/path/of/an/environment` installs into it and keeps its torch, if it has one.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
QT ?= pyqt5
# The first Python that runs and is new enough; PYTHON3=/path/to/python chooses another.
PYTHON3 ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
# Where torch comes from: pypi (on Linux with CUDA's libraries), or cpu (PyTorch's index for CPUs, a third of the size).
TORCH ?= pypi
TORCH_INDEX := https://download.pytorch.org/whl/cpu
# What Qt and OpenGL need of a Debian or Ubuntu system, and a virtual screen for machines without one.
SYSTEM_LIBRARIES := xvfb xauth libgl1 libegl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
	libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libdbus-1-3
# A real screen is used when there is one; `make demo SCREEN=virtual` does without.
SCREEN ?= $(if $(DISPLAY)$(WAYLAND_DISPLAY),real,virtual)
VIRTUAL_SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
ON_SCREEN := $(if $(filter virtual,$(SCREEN)),$(VIRTUAL_SCREEN))

# Else each process that the tests start compiles the package again: 0.6 s of CPU each, and 7 s to collect the tests.
unexport PYTHONDONTWRITEBYTECODE

# Two processes, each with whole files: pytest-xdist 3.8 ignores the groups of --dist loadgroup with pytest 9.
SHARED_OUT := -n 2 --dist loadfile --no-loadscope-reorder

# Each benchmark is stopped after this time and counts as failed; all of them end well before on an idle machine.
BENCHMARK_LIMIT_S ?= 580

.PHONY: demo test test-slow test-faults test-roundtrips test-pyqt6 lint format docs docs-links screenshots benchmarks setup system-libraries clean

demo: setup
	$(ON_SCREEN) $(VENV)/bin/napari-cellseg demo --out demo-output $(if $(filter real,$(SCREEN)),--stay)

test: setup
	$(VIRTUAL_SCREEN) $(PYTHON) -m pytest $(SHARED_OUT)

test-slow: setup
	$(VIRTUAL_SCREEN) $(PYTHON) -m pytest -m slow

test-faults: setup
	$(VIRTUAL_SCREEN) $(PYTHON) -m pytest -m faults

# Other tools' own libraries read the exports. They go into an environment of their own, on top of $(VENV)'s packages.
ROUND_TRIPS := $(VENV)/round-trips

test-roundtrips: setup
	@test -x $(ROUND_TRIPS)/bin/python || $(PYTHON) -m venv $(ROUND_TRIPS)
	@$(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$($(ROUND_TRIPS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of_the_plugin.pth"
	$(ROUND_TRIPS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/round_trips.txt
	$(VIRTUAL_SCREEN) $(ROUND_TRIPS)/bin/python -m pytest tests/test_round_trips.py tests/test_import_annotators.py \
		tests/test_measurement_parquet.py

# The default tests with Qt 6. PyQt6 goes into an environment of its own, on top of what $(VENV) has.
PYQT6 := $(VENV)/pyqt6

test-pyqt6: setup
	@test -x $(PYQT6)/bin/python || $(PYTHON) -m venv $(PYQT6)
	@echo "import site; site.addsitedir('$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" > \
		"$$($(PYQT6)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of_the_plugin.pth"
	$(PYQT6)/bin/python -m pip install --quiet --disable-pip-version-check "pyqt6>=6.5"
	QT_API=pyqt6 $(VIRTUAL_SCREEN) $(PYQT6)/bin/python -m pytest $(SHARED_OUT) -o qt_api=pyqt6

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/npe2 validate napari-cellseg

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The documentation site, in docs/_build/html; every warning is an error, and every command of its pages is run.
docs: setup
	$(PYTHON) -m pytest -q -m "slow or not slow" tests/test_docs.py
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Checks the links to other sites; needs the network.
docs-links: setup
	$(PYTHON) -m sphinx -q -b linkcheck docs docs/_build/links

# The pictures of docs/images, taken from the running program; five minutes on two cores.
screenshots: setup
	$(VIRTUAL_SCREEN) $(PYTHON) docs/screenshots.py

benchmarks: setup
	@failed=""; \
	for script in benchmarks/*.py; do \
		echo "== $$script"; \
		code=0; timeout -k 20 $(BENCHMARK_LIMIT_S) $(VIRTUAL_SCREEN) $(PYTHON) $$script || code=$$?; \
		case $$code in \
			0) ;; \
			124|137) echo "$$script did not end within $(BENCHMARK_LIMIT_S) s and was stopped"; failed="$$failed $$script";; \
			*) echo "$$script failed with code $$code"; failed="$$failed $$script";; \
		esac; \
	done; \
	test -z "$$failed" || { echo "Failed:$$failed"; exit 1; }

setup: system-libraries $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON3)" || { echo "Python 3.11 or newer is needed; install it, for example: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON3) cannot make virtual environments; run: apt-get install python3-venv"; exit 1; }
	@test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	@grep -vE '^(torch|torchvision|triton|nvidia-|cuda-)' constraints.txt > $(VENV)/constraints.txt; \
	if [ -e $(VENV)/.own-torch ] || { [ ! -e $@ ] && $(PYTHON) -c 'import torch, torchvision' 2>/dev/null; }; then \
		touch $(VENV)/.own-torch; \
		echo "Installing into $(VENV), which has torch already: about 1.5 GB; a few minutes ..."; \
	elif [ "$(TORCH)" = cpu ]; then \
		echo "Installing into $(VENV): about 2.5 GB on disk, 0.8 GB of it torch for the CPU; a few minutes ..."; \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check torch torchvision --index-url $(TORCH_INDEX) || exit 1; \
		touch $(VENV)/.own-torch; \
	else \
		echo "Installing into $(VENV): about 7 GB on disk, most of it torch with CUDA's libraries; a few minutes."; \
		echo "Without a GPU, 'make $(MAKECMDGOALS) TORCH=cpu' takes about 2.5 GB. Ctrl-C stops."; \
		cp constraints.txt $(VENV)/constraints.txt; \
	fi
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[$(QT),dev,docs]"
	@touch $@

system-libraries:
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=""; \
	for p in $(SYSTEM_LIBRARIES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q "ok installed" || missing="$$missing $$p"; \
	done; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
		echo "Installing system libraries:$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "Qt and OpenGL need system libraries that are missing here. Run this once, then again what you ran:"; \
		echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$$missing"; \
		exit 1; \
	fi

clean:
	rm -rf $(VENV) demo-output docs/_build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
