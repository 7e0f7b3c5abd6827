"""`make docs`: a browsable site of all notebooks in _site/html, from mkdocs, that needs no network.

Hidden cells and directives stay out. Exported code is folded behind the signatures of what it makes. Formulas are drawn here. A link that leads nowhere is an error."""
import json,os,re,shutil,subprocess,sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote,urldefrag
sys.path.insert(0, str(Path(__file__).parent))
from formulas import with_formulas
from signatures import folded,signatures

ROOT = Path(__file__).resolve().parents[2]
NBS,PAGES,HTML = ROOT/'nbs', ROOT/'_site'/'pages', ROOT/'_site'/'html'
TUTORIALS = 'explore compare leaderboard reproduce questions cluster'.split() # in the order in which they are read

# ---- pages

def shown(cell, module, lines, headings):
    "The cells that a reader sees in the place of one; `module` is what the notebook exports, `lines` its text, `headings` those that are taken"
    source = ''.join(cell['source'])
    if re.match(r'#\|\s*(hide|default_exp)', source): return []
    if cell['cell_type']=='markdown': return [dict(cell, source=linked(with_formulas(source)))]
    code = re.sub(r'^#\|.*\n?', '', source, flags=re.M)
    if re.match(r'#\|\s*echo: false', source): return [dict(cell, source=code, metadata=dict(tags=['result_only']))]
    if not re.match(r'#\|\s*export', source): return [dict(cell, source=code)]
    text = '\n\n'.join([*signatures(code, module, lines, headings), folded(code)])
    return [dict(cell_type='markdown', id=cell['id'], metadata={}, source=text)]

def linked(text):
    "Markdown with its links as they are on the site"
    text = re.sub(r'\]\(((?:\.\./)*)\.\./(?:nbs/(?=\d\d_|tutorials/)|(?=runs/|tutorials/|[A-Z]+\.(?:md|cff)))', r'](\1', text)
    text = re.sub(r'(\]\(\S*runs/_reports/\S+/)report\.md\)', r'\1index.html)', text)
    return re.sub(r'(\]\((?!\w+:)[^)#]+)\.(?:ipynb|md)(?=[)#])', r'\1.html', text)

def exported_to(notebook):
    "Name and lines of the module that a notebook exports; empty where it exports none"
    sources = [''.join(c['source']) for c in notebook['cells']]
    names = [found[1] for o in sources if (found := re.match(r'#\|\s*default_exp (\S+)', o))]
    if not names: return '', []
    import simpleattn
    file = Path(simpleattn.__file__).with_name(f'{names[0]}.py')
    return names[0], file.read_text().split('\n')

def headings_of(notebook):
    "The headings of its text, in small letters"
    texts = [''.join(c['source']) for c in notebook['cells'] if c['cell_type']=='markdown']
    return {re.sub(r'\W+', '', o).lower() for text in texts for o in re.findall(r'^#+ (.+)$', text, re.M)}

def write_page(path):
    "Copy a notebook as a reader sees it, and the source of its module"
    notebook,to = json.loads(path.read_text()), PAGES/path.relative_to(NBS)
    module,lines = exported_to(notebook)
    headings = headings_of(notebook)
    notebook['cells'] = [o for cell in notebook['cells'] for o in shown(cell, module, lines, headings)]
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(notebook))
    if module: write_source(module, lines)

def write_source(module, lines):
    "A page of a module's text, a place to link to for each line"
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    code = highlight('\n'.join(lines), PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).split('\n')
    code = '&#10;'.join(f'<span id="L-{i}">{line}</span>' for i,line in enumerate(code, 1)) # on one line, which markdown leaves alone
    to = PAGES/'source'/f'{module}.md'
    to.parent.mkdir(exist_ok=True)
    to.write_text(f'# {module}.py\n\n<div class="source"><div class="highlight"><pre><code>{code}</code></pre></div></div>\n')

def write_pages():
    shutil.rmtree(ROOT/'_site', ignore_errors=True)
    for path in sorted([*NBS.glob('*.ipynb'), *NBS.glob('tutorials/*.ipynb')]): write_page(path)
    for o in ('CHANGELOG.md','CONTRIBUTING.md','CITATION.cff'): shutil.copy(ROOT/o, PAGES)
    shutil.copy(Path(__file__).with_name('site.css'), PAGES)
    shutil.copytree(ROOT/'runs'/'_reports', PAGES/'runs'/'_reports', ignore=shutil.ignore_patterns('*.md'))
    write_order()

def write_order():
    "mkdocs.yml with the pages in their order: tutorials, then the library by number"
    library = sorted(o.name for o in NBS.glob('[0-9]*.ipynb'))
    order = [{'simpleattn':'index.ipynb'}, {'Tutorials':[f'tutorials/{o}.ipynb' for o in TUTORIALS]}, {'Library':library},
        {'Project':['CHANGELOG.md','CONTRIBUTING.md']}]
    settings = os.path.relpath(Path(__file__).with_name('mkdocs.yml'), PAGES.parent)
    # JSON is YAML
    (PAGES.parent/'mkdocs.yml').write_text(f'INHERIT: {settings}\ndocs_dir: pages\nsite_dir: html\nnav: {json.dumps(order)}\n')

def without_mathjax():
    "Formulas are drawn already: what would load a script for them goes"
    for path in HTML.rglob('*.html'):
        text = path.read_text()
        path.write_text(re.sub(r'<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->', '', text, flags=re.S))

# ---- links

class Links(HTMLParser):
    def __init__(self, text): super().__init__(); self.found,self.ids = [],set(); self.feed(text)
    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.found += [d[k] for k in ('href','src') if d.get(k)]
        self.ids |= {d[k] for k in ('id','name') if d.get(k)}

def broken():
    "Links of the site's pages to files or places that are not there"
    read = {p.resolve():Links(p.read_text()) for p in HTML.rglob('*.html') if '_reports' not in p.parts}
    for p,l in read.items():
        for u in l.found:
            if re.match(r'[a-z]+:|//', u) or p.name=='404.html': continue
            path,place = urldefrag(unquote(u))
            to = (p.parent/path).resolve() if path else p
            to = to/'index.html' if to.is_dir() else to
            if not to.exists() or (place and to in read and place not in read[to].ids): yield f'{p.relative_to(HTML.resolve())}: {u}'

def check_links():
    "Say which links lead nowhere; whether there are any"
    bad = sorted(set(broken()))
    print('\n'.join(['Links that lead nowhere:', *bad]) if bad else f'The site is {HTML.relative_to(ROOT)}/index.html')
    return bool(bad)

def build():
    "Write the pages and make the site of them; mkdocs's exit status"
    write_pages()
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '-f', str(PAGES.parent/'mkdocs.yml')]
    code = subprocess.run(command, env={**os.environ, 'NO_MKDOCS_2_WARNING':'1'}).returncode
    without_mathjax()
    return code

if __name__=='__main__':
    code = build()
    sys.exit(check_links() or code)
