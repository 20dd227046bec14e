# The project's own figures, as docs/figures.md; a stopped run goes on. Everything else: ./footnote test, .ci/run, scripts/lock
#   make figures SETS=questions,cranfield LIMIT=50 PARTS=retrieval,answers OUT=/tmp/figures.md
SETS ?= questions,cranfield,scifact,covid-qa,squad2-dev,clapnq-dev,qed-dev
PARTS ?= retrieval,answers,sweep,encoder
LIMIT ?= 200
OUT ?= docs/figures.md

.PHONY: figures
figures:
	.venv/bin/python -m bench.figures --sets "$(SETS)" --parts "$(PARTS)" --limit "$(LIMIT)" --out "$(OUT)"
