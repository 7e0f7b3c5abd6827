"""`make docs`: a browsable site of all notebooks in _site/html, from mkdocs. Hidden cells and directives stay out; a link that leads nowhere is an error."""
import json,os,re,shutil,subprocess,sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote,urldefrag

ROOT = Path(__file__).resolve().parents[2]
NBS,PAGES,HTML = ROOT/'nbs', ROOT/'_site'/'pages', ROOT/'_site'/'html'

def shown(cell):
    "A cell as a reader sees it; None where it is hidden"
    src = ''.join(cell['source'])
    if re.match(r'#\|\s*(hide|default_exp)', src): return None
    if cell['cell_type']=='code': return dict(cell, source=re.sub(r'^#\|.*\n?', '', src, flags=re.M))
    src = re.sub(r'\]\(((?:\.\./)*)\.\./(?:nbs/)?(?=runs/|tutorials/|[A-Z]+\.(?:md|cff)|\d\d_)', r'](\1', src)
    src = re.sub(r'(\]\(\S*runs/_reports/\S+/)report\.md\)', r'\1index.html)', src)
    return dict(cell, source=re.sub(r'(\]\((?!\w+:)[^)#]+)\.(?:ipynb|md)(?=[)#])', r'\1.html', src))

def pages():
    "Copy the notebooks, and the pictures that they show"
    shutil.rmtree(ROOT/'_site', ignore_errors=True)
    for p in sorted([*NBS.glob('*.ipynb'), *NBS.glob('tutorials/*.ipynb')]):
        nb,to = json.loads(p.read_text()), PAGES/p.relative_to(NBS)
        nb['cells'] = [c for c in map(shown, nb['cells']) if c]
        to.parent.mkdir(parents=True, exist_ok=True); to.write_text(json.dumps(nb))
    for o in ('CHANGELOG.md','CONTRIBUTING.md','CITATION.cff'): shutil.copy(ROOT/o, PAGES)
    shutil.copytree(ROOT/'runs'/'_reports', PAGES/'runs'/'_reports', ignore=shutil.ignore_patterns('*.md'))

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

if __name__=='__main__':
    pages()
    code = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '-f', str(Path(__file__).with_name('mkdocs.yml'))],
        env={**os.environ, 'NO_MKDOCS_2_WARNING':'1'}).returncode
    bad = sorted(set(broken()))
    print('\n'.join(['Links that lead nowhere:', *bad]) if bad else f'The site is {HTML.relative_to(ROOT)}/index.html')
    sys.exit(code or bool(bad))
