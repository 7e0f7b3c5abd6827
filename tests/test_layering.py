"""A notebook imports only from smaller numbers, and reading needs neither torch nor fastai"""
import ast
import pytest
from conftest import ROOT,python

LIB = ROOT/'simpleattn'
NOTEBOOKS = sorted((ROOT/'nbs').glob('[0-9][0-9]*_*.ipynb'))
ORDER = [o.stem.partition('_')[2] for o in NOTEBOOKS]
NUMBER = {name:i for i,name in enumerate(ORDER)}
NUMBER |= dict(engines=NUMBER['study']-.6, preload=NUMBER['study']-.5) # plain modules, before the notebook that uses them
HEAVY = {'attention','local','bottleneck','models','data','optimisers','train','preload'}
MODULES = sorted(o.stem for o in LIB.glob('*.py') if not o.stem.startswith('_'))

def imported(source):
    "Modules of this library that a module imports, at its top or in a function"
    for o in ast.walk(ast.parse(source)):
        if isinstance(o, ast.Import): names = [a.name for a in o.names]
        elif isinstance(o, ast.ImportFrom):
            base = 'simpleattn'+f'.{o.module}'*bool(o.module) if o.level else o.module
            names = [f'{base}.{a.name}' for a in o.names]
        else: continue
        yield from (n.split('.')[1] for n in names if n.startswith('simpleattn.') and n.split('.')[1] in NUMBER)

def test_imports_are_seen():
    src = 'from .runs import Run\nimport simpleattn.data\ndef f():\n  from simpleattn import stats\n  from simpleattn.train import *\n  import torch'
    assert list(imported(src))==['runs','data','stats','train']

@pytest.mark.parametrize('name', MODULES)
def test_a_module_imports_only_from_smaller_numbers(name):
    assert name in NUMBER, 'a module has a numbered notebook'
    assert [o for o in imported((LIB/f'{name}.py').read_text()) if NUMBER[o]>=NUMBER[name]]==[]

def test_light_modules_import_neither_torch_nor_fastai():
    light = [o for o in MODULES if o not in HEAVY]
    assert {'recipes','variants','runs','study','stats','cli','engines'} <= set(light)
    code = '''
import sys,importlib
for o in sys.argv[1:]:
    importlib.import_module(f'simpleattn.{o}')
    for bad in ('torch','fastai'):
        if bad in sys.modules: sys.exit(f'simpleattn.{o} imports {bad}')'''
    res = python(code, *light)
    assert res.returncode==0, res.stderr

def test_lists_and_help_import_nothing_heavy():
    code = '''
import sys
from simpleattn.cli import main
for o in (['--help'], ['recipes'], ['recipes','--fmt','json'], ['variants'], ['study','--help'] ):
    try: main(o)
    except SystemExit: pass
    for bad in ('torch','fastai','pandas','scipy','numpy','matplotlib'):
        if bad in sys.modules: sys.exit(f'simpleattn {o[0]} imports {bad}')'''
    res = python(code)
    assert res.returncode==0, res.stderr
