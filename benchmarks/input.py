"""Images a processor's second into the model, second epoch on: bytes decoded once and cropped by torch, against fastai's DataBlock without workers.

python benchmarks/input.py; with SIMPLEATTN_DATA on Imagewoof, else on made photographs (blurred noise, JPEG of quality 90). On a GPU, images by the clock, with the whole set on it."""
import dataclasses,os,sys,tempfile,time,warnings
from pathlib import Path
warnings.simplefilter('ignore')
import numpy as np,torch
from PIL import Image,ImageFilter
from common import clock,save,sync
from plain_fastai import plain_dls
from simpleattn.data import DecodedImages,get_dls,get_path
from simpleattn.recipes import load_recipes
from simpleattn.train import keep_freed_memory

SIZES,IMAGES,WANT = (128,64), (320,640,1280), 7.

def photographs(root, n=1280, classes=10):
    "JPEGs like those of Imagewoof at 160 px"
    rng = np.random.default_rng(0)
    for i in range(n+64):
        f = root/('train' if i<n else 'val')/f'c{i%classes}'/f'{i}.JPEG'
        f.parent.mkdir(parents=True, exist_ok=True)
        h,w = ((160,213),(213,160))[i%4==0]
        Image.fromarray(rng.integers(0, 256, (h,w,3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(1.2)).save(f, quality=90)
    return root

def some(path, n, root):
    "A folder of n training images of a set, and 64 for validation, by links"
    import itertools
    for part,k in (('train',n),('val',64)):
        for j,f in enumerate(itertools.islice((p for i in itertools.zip_longest(*[sorted(o.iterdir()) for o in sorted((path/part).iterdir())]) for p in i if p), k)):
            to = root/part/f.parent.name/f.name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(f)
    return root

def epoch(dl):
    "Seconds and images of one pass"
    sync(); t,n = clock(),0
    for x,_ in dl: n += len(x)
    sync(); return clock()-t, n

def main():
    torch.set_num_threads(1)
    keep_freed_memory() # as every training of this library does
    dev,rows = 'cuda' if torch.cuda.is_available() else 'cpu', []
    with tempfile.TemporaryDirectory() as tmp:
        real = bool(os.environ.get('SIMPLEATTN_DATA'))
        full = get_path('imagewoof') if real else photographs(Path(tmp)/'made')
        for size in SIZES:
            for n in IMAGES:
                path = some(full, n, Path(tmp)/f'set-{n}-{size}')
                r = dataclasses.replace(load_recipes()['woof-128-5'], name='input', dataset=path.name, source='full', size=size, precision='float32')
                t = clock(); DecodedImages(path, r.presize); built = clock()-t
                loaders = dict(ours=get_dls(r, 0, path, device=dev).train, fastai=plain_dls(path, r, device=dev).train)
                rates = {k:[] for k in loaders}
                for k,dl in loaders.items(): epoch(dl)
                for _ in range(3):
                    for k,dl in loaders.items(): s,m = epoch(dl); rates[k].append(m/s)
                med = {k:round(sorted(v)[1]) for k,v in rates.items()}
                rows.append(dict(what='images a second', real=real, size=size, images=n, rates={k:[round(o) for o in v] for k,v in rates.items()}, median=med,
                    times_faster=round(med['ours']/med['fastai'], 2), decoding_once_s=round(built,2), at_least=WANT, ok=med['ours']>=WANT*med['fastai']))
                print(f"{size:4} px, {n:5} images: {med['ours']:6,} a second against {med['fastai']:5,}: {rows[-1]['times_faster']:.1f}x (to reach: {WANT}x); decoding once {built:.1f} s", flush=True)
    ok = all(r['ok'] for r in rows)
    save('input', rows, 'torch', 'fastai', 'pillow', ok=ok)
    return ok

if __name__=='__main__': sys.exit(not main())
