# Each target does its own set-up: a virtual environment in .venv with the exact versions of constraints.txt,
# compiled to bytecode once: where PYTHONDONTWRITEBYTECODE is set, every start would compile pandas and scipy again
PY ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# two processes share the tests; one that runs out takes half of what the other has left
TWO := -n 2 --dist worksteal

.PHONY: demo test test-slow bench gpu-pack docs lab clean

.venv/.installed: pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info[:2] <= (3,13) else "simpleattn needs Python 3.11 to 3.13; name one with make PY=python3.12")'
	@echo "Setting up .venv: about 7 GB, most of it torch with its GPU libraries; two or three minutes on a fast connection"
	$(PY) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.installed
	$(BIN)/simpleattn demo

test: .venv/.installed
	CUDA_VISIBLE_DEVICES= $(BIN)/nbdev-test --n-workers 2 --do-print
	$(BIN)/python -m pytest -m 'not slow' $(TWO) -rs

test-slow: .venv/.installed
	$(BIN)/python -m pytest -m slow $(TWO) -rs

bench: .venv/.installed
	@rc=0; for f in $(filter-out benchmarks/common.py benchmarks/plain_fastai.py benchmarks/first_epochs.py,$(wildcard benchmarks/*.py)); do echo "$$f"; $(BIN)/python $$f || rc=1; done; exit $$rc

# what benchmarks/gpu/README.md carries to a GPU machine without a network
gpu-pack: .venv/.installed
	PYTHON=$(BIN)/python bash benchmarks/gpu/pack.sh .gpu

docs: .venv/.installed
	$(BIN)/nbdev-export && $(BIN)/nbdev-clean
	$(BIN)/jupyter nbconvert --log-level=ERROR --to markdown --stdout --RegexRemovePreprocessor.patterns='^#\| hide' \
		--NbConvertBase.display_data_priority="['text/markdown','text/plain']" nbs/index.ipynb \
		| sed 's#(\.\./#(#g' | awk '/^```/ {if (!inside && $$0 == "```") $$0 = "```python"; inside = !inside} 1' \
		| perl -0pe 's/```bash\n%%bash\n/```bash\n/g; s/```python\n#\| echo: false\n[^`]*```\n//g; s/\n\n\n\n*/\n\n/g' > README.md
	$(BIN)/python nbs/site/build.py

lab: .venv/.installed
	$(BIN)/jupyter lab --ip 127.0.0.1 nbs

clean:
	rm -rf .venv build dist *.egg-info
