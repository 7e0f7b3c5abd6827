"""Images: found, checked, unpacked safely, split as said, decoded once, and cut into the same batches every time"""
import hashlib,io,json,multiprocessing as mp,os,shutil,tarfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from fastcore.script import CliError
from simpleattn.data import (CroppedImages,DecodedImages,center_crop,check_data,crop_boxes,derived,fingerprint,get_dls,get_path,list_images,
                             noisy_labels,source_facts,split_files,unpack)
from simpleattn import data
from simpleattn.folders import train_labels
from simpleattn.recipes import Recipe,derive
from simpleattn.shapes import make_shapes,shape_classes
from conftest import python

def picture(rng, h, w):
    "A smooth image of chance colours"
    return Image.fromarray(rng.integers(0, 256, (h//8+2,w//8+2,3), np.uint8)).resize((w,h), Image.BICUBIC)

def write_folder(path, classes='abc', n_train=4, n_val=2, sizes=((40,40),(40,60),(60,40)), seed=0, **kwargs):
    "A data set of PNG files"
    rng = np.random.default_rng(seed)
    for part,n in (('train',n_train),('val',n_val)):
        for c in classes:
            (path/part/c).mkdir(parents=True)
            for i in range(n): picture(rng, *sizes[i%len(sizes)]).save(path/part/c/f'{c}{i}.png', **kwargs)
    return path

@pytest.fixture(scope='module')
def pics(tmp_path_factory): return write_folder(tmp_path_factory.mktemp('pics')/'pics')

def small(**kw): return Recipe('small', dataset='pics', source='full', bs=4, **{**dict(size=32, val_extra=8, widen=.125, backbone='xresnet18', epochs=1), **kw})
def content(path): return {str(p.relative_to(path)):p.read_bytes() for p in sorted(Path(path).rglob('*')) if p.is_file()}
def batches(dl): return [(x.clone(),y.clone()) for x,y in dl]
def same(a, b): return len(a)==len(b) and all(torch.equal(x,u) and torch.equal(y,v) for (x,y),(u,v) in zip(a, b))
def cropped(path, train=True, seed=0, **kw):
    files = split_files(path)[not train]
    imgs = DecodedImages(path)
    return CroppedImages(imgs, files, [0]*len(files), ['x'], small(**kw), seed, train)

# ---- crops are those of torchvision and PIL

def torchvision_boxes(h, w, n, lo):
    from torchvision.transforms import RandomResizedCrop
    torch.manual_seed(0)
    img = torch.zeros(3,1,1).expand(3,h,w)
    return np.array([RandomResizedCrop.get_params(img, [lo,1.], [3/4,4/3]) for _ in range(n)])

@pytest.mark.parametrize('h,w,lo', [(160,213,.35), (213,160,.35), (40,40,.7), (160,400,.35), (300,40,.35)])
def test_boxes_are_distributed_as_torchvisions(h, w, lo):
    n = 1500
    ours = crop_boxes(np.random.default_rng(0).random((n,23)), np.array([[h,w]]*n), lo)
    t,l,bh,bw = ours.T
    assert (t>=0).all() and (l>=0).all() and (bh>0).all() and (bw>0).all() and (t+bh<=h).all() and (l+bw<=w).all()
    theirs = torchvision_boxes(h, w, n, lo)
    se = np.sqrt((ours.var(0)+theirs.var(0))/n)
    assert (np.abs(ours.mean(0)-theirs.mean(0)) <= 4*se+1e-9).all(), (ours.mean(0), theirs.mean(0))
    assert np.allclose(ours.std(0), theirs.std(0), rtol=.08, atol=.3), (ours.std(0), theirs.std(0))

def test_boxes_reach_every_edge():
    t,l,h,w = crop_boxes(np.random.default_rng(0).random((4000,23)), np.array([[60,80]]*4000), .35).T
    tall,wide = (h>40)&(h<56), (w>50)&(w<76)
    for at,free in ((t,60-h),(l,80-w)):
        ok = tall & wide
        assert (at==0)[ok].any() and (at==free)[ok].any() and abs((at/free)[ok].mean()-.5)<.05

def test_a_training_image_is_the_flipped_box_resized_as_PIL_resizes(tmp_path):
    p = write_folder(tmp_path/'d', 'ab', 6, 1, ((160,213),(213,160),(48,40)))
    ds = cropped(p, size=32, crop_min=.35)
    u = ds.uniform(2)
    boxes,x = crop_boxes(u, ds.imgs.hw[ds.rows], .35), ds.batch(range(len(ds)), 2)[0]
    assert 0 < (u[:,22]<.5).sum() < len(ds)
    for i,f in enumerate(ds.files):
        t,l,h,w = boxes[i]
        want = np.asarray(Image.open(p/f).crop((l,t,l+w,t+h)).resize((32,32), Image.BILINEAR)).astype(int)
        if u[i,22]<.5: want = want[:,::-1]
        assert np.abs(x[i].permute(1,2,0).numpy().astype(int)-want).max() <= 2

@pytest.mark.parametrize('size,extra', [(128,32),(32,8),(96,0),(160,32)])
def test_the_validation_crop_is_torchvisions(size, extra):
    from torchvision.transforms import CenterCrop,Compose,Resize
    rng = np.random.default_rng(0)
    tfm = Compose([Resize(size+extra), CenterCrop(size)])
    for h,w in [(160,213),(213,160),(160,160),(160,241),(375,500),(40,52),(199,161),(160,240),(320,427),(200,300)]:
        img = picture(rng, h, w)
        ours = center_crop(np.asarray(img), size, extra)
        assert ours.shape==(3,size,size) and ours.dtype==torch.uint8
        assert np.abs(ours.permute(1,2,0).numpy().astype(int)-np.asarray(tfm(img)).astype(int)).max() <= 2, (h,w)

def test_padded_crops_are_windows_of_the_padded_image(pics):
    ds = cropped(pics, crop='pad', flip=False, size=32)
    x = ds.batch(range(len(ds)), 0)[0]
    plain = center_crop(np.asarray(Image.open(pics/ds.files[0])), 32, 0) # The first is square
    padded = torch.nn.functional.pad(plain, (4,)*4)
    assert any(torch.equal(torch.as_tensor(x[0]), padded[:,t:t+32,l:l+32]) for t in range(9) for l in range(9))

def test_without_flips_nothing_is_flipped(pics):
    a,b = (cropped(pics, flip=o).batch(range(12), 0)[0] for o in (False,True))
    turned = [torch.equal(x.flip(-1), y) and not torch.equal(x, y) for x,y in zip(a, b)]
    assert 0 < sum(turned) < 12 and all(t or torch.equal(x, y) for t,x,y in zip(turned, a, b))

# ---- batches

def test_the_same_seed_gives_the_same_batches_with_any_number_of_loaders(tiny, recipe):
    one,two = (get_dls(recipe, 3, tiny, workers=n) for n in (0,2))
    for _ in range(2):
        a = batches(one.train)
        assert same(a, batches(two.train)) and len(a)==6
    assert same(batches(one.valid), batches(two.valid))

def test_another_seed_or_epoch_gives_other_batches(tiny, recipe):
    dl,other = get_dls(recipe, 3, tiny).train, get_dls(recipe, 4, tiny).train
    a,b,c = batches(dl), batches(dl), batches(other)
    for u,v in ((a,b),(a,c),(b,c)): assert not any(torch.equal(x,y) for (x,_),(y,_) in zip(u, v))
    orders = [(setattr(d, 'epoch', e), tuple(d.shuffle_fn(range(48))))[1] for d in (dl,other) for e in (0,1)]
    crops = [d.dataset.uniform(e).tobytes() for d in (dl,other) for e in (0,1)]
    assert len(set(orders))==len(set(crops))==4, 'order and crops have streams of their own, by seed and epoch'
    dl.epoch = 0
    assert same(a, batches(dl))

def test_an_epoch_sees_each_image_once_and_validation_sees_all(tiny, recipe):
    dls = get_dls(derive(recipe, bs=9), 0, tiny)
    assert len(dls.train)==len(batches(dls.train))==48//9
    assert sorted(dls.train.shuffle_fn(range(48)))==list(range(48))
    assert sum(len(y) for _,y in dls.valid)==24
    assert torch.cat([y for _,y in dls.valid]).tolist()==[list(dls.vocab).index(f.split('/')[1]) for f in split_files(tiny)[1]]

def test_validation_does_not_depend_on_the_seed(tiny, recipe): assert same(batches(get_dls(recipe, 1, tiny).valid), batches(get_dls(recipe, 2, tiny).valid))

def test_pixels_are_normalised(tiny, recipe):
    x,_ = get_dls(recipe, 0, tiny).train.one_batch()
    assert x.dtype==torch.float32 and x.shape==(8,3,32,32)
    raw = x*torch.tensor([.229,.224,.225]).view(1,3,1,1)+torch.tensor([.485,.456,.406]).view(1,3,1,1)
    assert raw.min()>-1e-4 and raw.max()<1+1e-4 and torch.allclose(raw*255, (raw*255).round(), atol=1e-2)

def test_show_batch_works(tiny, recipe):
    import matplotlib.pyplot as plt
    dls = get_dls(recipe, 0, tiny)
    for dl in dls: dl.show_batch(max_n=4)
    assert sum(len(f.axes) for f in map(plt.figure, plt.get_fignums()))>=8
    assert all(a.get_title() in shape_classes for f in map(plt.figure, plt.get_fignums()) for a in f.axes if a.images)
    plt.close('all')

# ---- splits

def check_split(path, split, of=None):
    "Train and val are disjoint, together all of `of`, and sorted"
    tr,va = split_files(path, split)
    of = of or [f for f,_ in list_images(path)]
    assert not set(tr)&set(va) and sorted(tr+va)==sorted(of) and va==sorted(va) and tr==sorted(tr)
    return tr,va

def classes(files): return Counter(f.split('/')[1] for f in files)

def test_v2_is_the_folders_as_they_are(tiny):
    tr,va = check_split(tiny, 'v2')
    assert len(tr)==48 and len(va)==24 and all(f.startswith('train/') for f in tr) and all(f.startswith('val/') for f in va)

def test_tune_holds_out_a_fixed_fifth_of_each_class_of_train(tiny):
    tr,va = check_split(tiny, 'tune', split_files(tiny)[0])
    assert classes(va)=={c:8//5 for c in shape_classes} and classes(tr)=={c:8-8//5 for c in shape_classes}
    assert hashlib.sha256(' '.join(va).encode()).hexdigest()[:12]=='88f69f45e615', va

def test_v1_is_refused_where_it_cannot_be_told(tiny):
    for o in ('v1','tune-v1'):
        with pytest.raises(CliError, match='v1 cannot be told'): split_files(tiny, o)

def test_v1_validates_on_the_files_of_ilsvrcs_validation_set_wherever_they_stand(tmp_path):
    "Today's val folder holds images of either set, and so does train"
    for part in ('train','val'):
        for c in ('a','b'):
            (tmp_path/part/c).mkdir(parents=True)
            for o in ('ILSVRC2012_val_0000','n0208_val_','n0209_'): (tmp_path/part/c/f'{o}{part}{c}.JPEG').touch()
    tr,va = check_split(tmp_path, 'v1')
    assert len(va)==4 and all('/ILSVRC2012_val_' in f for f in va) and {f.split('/')[0] for f in tr}=={f.split('/')[0] for f in va}=={'train','val'}

def test_v1_is_the_published_split_of_the_real_imagewoof(woof_listing):
    tr,va = check_split(woof_listing, 'v1')
    assert (len(tr),len(va))==(12454,500)
    assert all('/ILSVRC2012_val_' in f for f in va) and not any('/ILSVRC2012_val_' in f for f in tr)
    assert set(classes(va).values())=={50} and len(classes(va))==10

def test_v2_and_tune_of_the_real_imagewoof(woof_listing):
    tr,va = check_split(woof_listing, 'v2')
    assert (len(tr),len(va))==(9025,3929)
    t,v = check_split(woof_listing, 'tune', tr)
    assert classes(v)=={c:n//5 for c,n in classes(tr).items()}
    assert hashlib.sha256(' '.join(v).encode()).hexdigest()[:12]=='f15db4e0eae2'
    t1,v1 = check_split(woof_listing, 'tune-v1', split_files(woof_listing, 'v1')[0])
    assert len(v1)==sum(n//5 for n in classes(split_files(woof_listing, 'v1')[0]).values()) and not any('/ILSVRC2012_val_' in f for f in t1+v1)

def test_the_real_archive_at_hand_is_known_as_derived(woof_listing):
    facts = source_facts(woof_listing, Recipe('r', source='160'))
    assert facts['source']=='160-derived'==derived[facts['fingerprint']] and facts['n_files']==12954

def test_a_folder_that_was_given_is_not_called_the_official_archive(woof, tiny):
    assert source_facts(woof, Recipe('r', source='160'))['source']=='160-unverified'
    assert source_facts(tiny, Recipe('r', dataset='tiny', source='full'))['source']=='full'

@pytest.mark.slow
def test_without_a_home_a_folder_that_was_given_is_what_it_is(tiny, tmp_path):
    "fastai writes its configuration there; a run was lost at its end for want of it"
    known = tmp_path/'imagewoof2-160'
    known.symlink_to(tiny)
    res = python(f"""
import os; os.environ.pop('FASTAI_HOME', None)
from simpleattn.data import source_facts
from simpleattn.recipes import Recipe
print(source_facts({str(known)!r}, Recipe('r'))['source'])""", env=dict(HOME='/dev/null/none'))
    assert res.stdout.strip()=='160-unverified', res.stderr

def test_real_images_under_every_split(woof):
    for split,n in (('v2',(200,100)), ('v1',(240,60)), ('tune',(160,40)), ('tune-v1',(200,40))):
        dls = get_dls(Recipe('r', split=split, presize=40, size=32, val_extra=8, bs=32), 0, woof)
        assert (len(dls.train_ds),len(dls.valid_ds),dls.c)==(*n,10)
        x,y = dls.one_batch()
        assert x.shape==(32,3,32,32) and x.std()>.5

# ---- label noise

def wrong(dls, truth): return (np.array([dls.vocab[i] for i in dls.train_ds.labels])!=np.array([f.split('/')[1] for f in truth])).mean()

@pytest.mark.parametrize('noise', [0,1,5,25,50])
def test_label_noise_comes_from_the_csv_and_only_to_training(embedded, noise):
    dls = get_dls(small(noise=noise), 0, embedded)
    tr,va = split_files(embedded)
    assert abs(wrong(dls, tr)-noise/100) <= 4*np.sqrt(noise/100*(1-noise/100)/1200)
    assert [dls.vocab[i] for i in dls.valid_ds.labels]==[f.split('/')[1] for f in va]

def test_label_noise_never_touches_validation(tmp_path, tiny):
    "Even if a csv says so"
    p = Path(shutil.copytree(tiny, tmp_path/'d'))
    f = p/'noisy_shapes.csv'
    f.write_text('\n'.join(l if not l.startswith('val/') else ','.join([l.split(',')[0], *['red_blue']*5, 'True']) for l in f.read_text().splitlines())+'\n')
    dls = get_dls(small(noise=50), 0, p)
    assert [dls.vocab[i] for i in dls.valid_ds.labels]==[f.split('/')[1] for f in split_files(p)[1]]

def test_a_fingerprint_is_of_names_and_sizes(pics, tmp_path):
    said = []
    for name,change in dict(same=lambda f: None, longer=lambda f: f.write_bytes(f.read_bytes()+b' '), renamed=lambda f: f.rename(f.with_name('z.png'))).items():
        folder = Path(shutil.copytree(pics, tmp_path/name))
        change(folder/'train'/'a'/'a0.png')
        said.append(fingerprint(folder))
    assert said[0]==fingerprint(pics) and len({*said})==3

@pytest.mark.parametrize('split', ['v1','tune-v1'])
def test_label_noise_is_none_of_split_v1(embedded, split):
    train,_ = split_files(embedded, 'v2')
    with pytest.raises(CliError, match='goes with split v2 or tune'): train_labels(embedded, train, Recipe('r', noise=5, split=split))

def test_label_noise_of_the_real_csv(woof_listing):
    tr = split_files(woof_listing)[0]
    assert noisy_labels(woof_listing, 0)=={}
    def share(labels): return np.mean([labels[f]!=f.split('/')[1] for f in tr])
    assert np.allclose([share(noisy_labels(woof_listing, n)) for n in (1,5,25,50)], [.01,.05,.25,.5], atol=.006)

def test_a_noisy_label_that_is_no_class_is_named(tmp_path, tiny):
    p = shutil.copytree(tiny, tmp_path/'tiny')
    train,_ = split_files(p)
    for o in p.glob('noisy_*'): o.unlink()
    rows = [f'{f},{"A" if k==3 else f.split("/")[1]}' for k,f in enumerate(train)]
    (p/'noisy_tiny.csv').write_text('\n'.join(['path,noisy_labels_5', *rows]))
    with pytest.raises(CliError, match='noisy_tiny.csv.* A'): get_dls(small(noise=5), 0, p)

def test_label_noise_without_a_csv_is_an_error(pics):
    with pytest.raises(CliError, match='noisy_'): get_dls(small(noise=5), 0, pics)

# ---- unpacking

def pack(path, *members, top='d'):
    "A tgz with one image and what is asked for: (name, bytes) or a TarInfo"
    buf = io.BytesIO()
    Image.new('RGB', (8,8)).save(buf, 'png')
    with tarfile.open(path, 'w:gz') as t:
        for m in [(f'{top}/{o}/a/x.png'.lstrip('/'), buf.getvalue()) for o in ('train','val')] + list(members):
            if isinstance(m, tarfile.TarInfo): t.addfile(m); continue
            info = tarfile.TarInfo(m[0]); info.size = len(m[1])
            t.addfile(info, io.BytesIO(m[1]))
    return path

def link(name, to, kind=tarfile.SYMTYPE):
    o = tarfile.TarInfo(name); o.type,o.linkname = kind,str(to)
    return o

ATTACKS = {'parent':lambda out:[('../evil.txt', b'x')], 'parent within':lambda out:[('d/train/../../../evil.txt', b'x')],
    'absolute':lambda out:[(str(out/'evil.txt'), b'x')],
    'link to a file':lambda out:[link('d/l', out/'there.txt')], 'link to a folder':lambda out:[link('d/l', out), ('d/l/evil.txt', b'x')],
    'relative link':lambda out:[link('d/l', '../../out'), ('d/l/evil.txt', b'x')],
    'hard link':lambda out:[link('d/l', '../out/there.txt', tarfile.LNKTYPE), ('d/l', b'evil')],
    'device':lambda out:[link('d/null', '', tarfile.CHRTYPE)]}

@pytest.mark.parametrize('attack', ATTACKS)
def test_an_archive_cannot_write_outside_its_folder(tmp_path, attack):
    out = tmp_path/'out'
    out.mkdir(); (out/'there.txt').write_text('mine')
    a = pack(tmp_path/'d.tgz', *ATTACKS[attack](out))
    inner = tmp_path/'in'/'deep'
    try: unpack(a, inner/'d')
    except CliError as e: assert 'cannot be unpacked' in str(e) and not (inner/'d').exists()
    else: assert attack=='absolute', 'only a leading slash may be ignored'
    assert content(out)=={'there.txt':b'mine'} and not (tmp_path/'evil.txt').exists() and {o.name for o in tmp_path.iterdir()}=={'out','d.tgz','in'}
    assert [o.name for o in inner.iterdir()]==['d']*(attack=='absolute')

@pytest.mark.parametrize('data', [b'', b'no archive', None])
def test_a_broken_archive_is_an_error_and_leaves_nothing(tmp_path, data):
    a = pack(tmp_path/'d.tgz', ('d/big', os.urandom(100_000)))
    a.write_bytes(a.read_bytes()[:50_000] if data is None else data)
    with pytest.raises(CliError, match='d.tgz'): unpack(a, tmp_path/'in'/'d')
    assert list((tmp_path/'in').iterdir())==[]

@pytest.mark.parametrize('top', ['d','other',''])
def test_an_archive_is_unpacked_once_with_or_without_a_folder_at_its_top(tmp_path, top):
    p = unpack(pack(tmp_path/'d.tgz', top=top), tmp_path/'in'/'d')
    assert [f for f,_ in list_images(p)]==['train/a/x.png','val/a/x.png'] and p==tmp_path/'in'/'d'
    (p/'mark').write_text('')
    assert (unpack(tmp_path/'d.tgz', p)/'mark').exists()

def test_an_archive_with_a_second_folder_at_its_top(tmp_path):
    "Such as those that a Mac makes"
    p = unpack(pack(tmp_path/'d.tgz', ('__MACOSX/d/._x', b'x'), ('README', b'x')), tmp_path/'in'/'d')
    assert [f for f,_ in list_images(p)]==['train/a/x.png','val/a/x.png']

# ---- finding a data set

@pytest.fixture
def root(tmp_path, pics):
    "A folder of data sets: one as a folder, one as an archive"
    shutil.copytree(pics, tmp_path/'root'/'mine')
    pack(tmp_path/'root'/'packed.tgz', top='packed')
    return tmp_path/'root'

def test_a_data_set_is_found_by_its_folder_its_archive_or_the_folder_of_either(root):
    assert get_path('mine', 'full', root)==get_path('mine', 'full', root/'mine')==root/'mine'
    assert content(get_path('packed', 'full', root))==content(get_path('packed', 'full', root/'packed.tgz'))
    shutil.copytree(root/'mine', root/'imagewoof2-160')
    assert get_path('imagewoof', '160', root)==root/'imagewoof2-160'

def test_another_archive_of_the_same_name_is_unpacked_anew(root):
    a = get_path('packed', 'full', root)
    pack(root/'packed.tgz', ('packed/new.txt', b'new'), top='packed')
    b = get_path('packed', 'full', root)
    assert a!=b and (b/'new.txt').exists()

def test_the_environment_names_the_data(root, monkeypatch):
    monkeypatch.setenv('SIMPLEATTN_DATA', str(root))
    assert get_path('mine', 'full')==root/'mine'

def test_another_folder_with_its_own_number_of_classes_trains(root, monkeypatch):
    from simpleattn.train import train_one
    monkeypatch.setenv('SIMPLEATTN_DATA', str(root))
    run = train_one(derive(small(), 'mine', dataset='mine'), 'simple')
    assert (run.data['dataset'],run.data['n_train'],run.data['n_val'],run.n_images)==('mine',12,6,6)

def test_a_data_set_that_is_nowhere_is_an_error(root, monkeypatch):
    with pytest.raises(CliError, match="'yours'.*--data"): get_path('yours', 'full')
    with pytest.raises(CliError, match="'yours'"): get_path('yours', 'full', root)
    with pytest.raises(CliError, match='nothing at'): get_path('mine', 'full', root/'nowhere')
    monkeypatch.setenv('SIMPLEATTN_DATA', str(root/'nowhere'))
    with pytest.raises(CliError, match='nothing at.*SIMPLEATTN_DATA'): get_path('mine', 'full')

def test_a_folder_without_the_layout_is_an_error_at_once(root):
    with pytest.raises(CliError, match='train'): list_images(get_path('root', 'full', root.parent))

# ---- layouts that cannot be meant

def no_train(p): shutil.rmtree(p/'train')
def no_val(p): shutil.rmtree(p/'val')
def empty_class(p): (p/'train'/'d').mkdir(); (p/'val'/'d').mkdir()
def emptied_val_class(p): shutil.rmtree(p/'val'/'a'); (p/'val'/'a').mkdir()
def class_only_in_train(p): shutil.rmtree(p/'val'/'b')
def class_only_in_val(p): shutil.copytree(p/'val'/'b', p/'val'/'z')

@pytest.mark.parametrize('damage,says',
    [(no_train,"No data set 'pics'.*--data"), (no_val,'no val folder'), (empty_class,'train/d'), (emptied_val_class,'val/a'),
    (class_only_in_train,'class b is only in train'), (class_only_in_val,'class z is only in val')])
def test_a_layout_that_cannot_be_meant_is_an_error(tmp_path, pics, damage, says):
    p = Path(shutil.copytree(pics, tmp_path/'d'))
    damage(p)
    with pytest.raises(CliError, match=says): get_dls(small(), 0, p)

def test_a_validation_folder_may_be_called_test_or_valid(tmp_path, pics):
    for o in ('test','valid'):
        p = Path(shutil.copytree(pics, tmp_path/o))
        (p/'val').rename(p/o)
        assert len(split_files(p)[1])==6

def truncate(f): f.write_bytes(f.read_bytes()[:len(f.read_bytes())//2])

def test_a_truncated_image_is_named(tmp_path, tiny):
    p = Path(shutil.copytree(tiny, tmp_path/'d'))
    bad = sorted((p/'train'/'red_blue').iterdir())[0]
    truncate(bad)
    with pytest.raises(CliError, match=bad.name): get_dls(small(), 0, p)
    assert list(check_data(p)['unreadable'])==[f'train/red_blue/{bad.name}']

def test_a_batch_larger_than_the_training_set_is_an_error(pics):
    with pytest.raises(CliError, match='bs = 13.* 12 train images'): get_dls(derive(small(), bs=13), 0, pics)
    assert len(get_dls(derive(small(), bs=12), 0, pics).train)==1

def test_a_check_tells_all_of_a_data_set(tmp_path, pics):
    p = Path(shutil.copytree(pics, tmp_path/'d'))
    (p/'train'/'a'/'notes.txt').write_text('stray')
    (p/'val'/'b'/'broken.png').write_bytes(b'not an image')
    d = check_data(p)
    assert d['images']==19 and d['classes']==dict(a=dict(train=4,val=2), b=dict(train=4,val=3), c=dict(train=4,val=2))
    assert list(d['unreadable'])==['val/b/broken.png'] and d['stray']==['train/a/notes.txt'] and d['source']=='as given' and d['v1_validation']==0
    assert d['fingerprint']==fingerprint(p)!=fingerprint(pics)
    json.dumps(d)

def test_grey_and_transparent_images_are_read_as_three_colours(tmp_path, pics):
    p = Path(shutil.copytree(pics, tmp_path/'d'))
    Image.new('L', (40,40), 7).save(p/'train'/'a'/'grey.png'); Image.new('RGBA', (40,40), (1,2,3,4)).save(p/'train'/'a'/'clear.png')
    imgs = DecodedImages(p)
    assert (imgs[imgs.idx['train/a/grey.png']]==7).all() and imgs[imgs.idx['train/a/clear.png']][0,0].tolist()==[1,2,3]

# ---- the cache of decoded images

@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'xdg'))
    return tmp_path/'xdg'/'simpleattn'

def test_decoded_images_are_those_of_the_files(pics, own_cache):
    imgs = DecodedImages(pics)
    assert all((imgs[i]==np.asarray(Image.open(pics/f))).all() for i,f in enumerate(imgs.files)) and len(imgs)==18
    less = DecodedImages(pics, 20)
    assert {min(less[i].shape[:2]) for i in range(18)}=={20} and less[1].shape==(20,30,3)

@contextmanager
def counted_decoding():
    "The files that are decoded meanwhile"
    seen,decode = [],data._decode
    with pytest.MonkeyPatch.context() as m:
        m.setattr(data, '_decode', lambda path, presize: seen.append(path) or decode(path, presize))
        yield seen

def test_images_are_decoded_once(pics, own_cache):
    with counted_decoding() as seen:
        for _ in range(2): DecodedImages(pics)
    assert len(seen)==18

@pytest.mark.parametrize('damage', ['truncated','longer','gone','no index','broken index','flipped'])
def test_a_damaged_cache_is_made_again(pics, own_cache, damage):
    first = DecodedImages(pics)
    want,f,idx = bytes(first.data), first.dir/'images.bin', first.dir/'index.json'
    del first
    if damage=='truncated': os.truncate(f, 1000)
    if damage=='longer': f.write_bytes(want+b'x')
    if damage=='gone': f.unlink()
    if damage=='no index': idx.unlink()
    if damage=='broken index': idx.write_text(idx.read_text()[:20])
    if damage=='flipped': f.write_bytes(bytes([want[0]^1])+want[1:])
    again = DecodedImages(pics)
    assert bytes(again.data)==want and again.verify()

def test_verify_sees_one_flipped_bit(pics, own_cache):
    imgs = DecodedImages(pics)
    f = imgs.dir/'images.bin'
    assert imgs.verify()
    with f.open('r+b') as o: o.seek(500); b = o.read(1)[0]; o.seek(500); o.write(bytes([b^1]))
    assert not imgs.verify()

@pytest.mark.parametrize('colour', [(9,9,9),(1,2,4)])
def test_a_changed_image_is_decoded_anew(tmp_path, own_cache, colour):
    "Whether or not its file keeps its size"
    p = write_folder(tmp_path/'d', 'ab', 1, 1, ((8,8),), compress_level=0)
    f = p/'train'/'a'/'a0.png'
    Image.new('RGB', (8,8), (1,2,3)).save(f, compress_level=0)
    before = f.stat().st_size
    assert DecodedImages(p)[0][0,0].tolist()==[1,2,3]
    Image.new('RGB', (8,8), colour).save(f, **(dict(compress_level=0) if colour==(1,2,4) else {}))
    assert (f.stat().st_size==before) == (colour==(1,2,4))
    list_images.cache_clear()
    assert DecodedImages(p)[0][0,0].tolist()==list(colour)

def _decode(path, start, q):
    start.wait()
    with counted_decoding() as seen: imgs = DecodedImages(path)
    q.put((imgs.verify(), imgs.sha, len(seen)>0))

def test_of_processes_that_decode_at_once_one_does_and_all_get_the_same_whole_cache(tiny, own_cache):
    ctx = mp.get_context('fork')
    start,q = ctx.Event(),ctx.Queue()
    ps = [ctx.Process(target=_decode, args=(tiny, start, q)) for _ in range(4)]
    for p in ps: p.start()
    start.set()
    got = [q.get(timeout=120) for _ in ps]
    for p in ps: p.join()
    assert {o[:2] for o in got}=={(True,got[0][1])} and sum(o[2] for o in got)==1, 'one decodes, the others wait'
    name, = (o.name for o in own_cache.iterdir() if not o.name.endswith('.lock'))
    assert name.startswith(f'decoded-{fingerprint(tiny)}-')

def test_a_failed_build_leaves_nothing_behind(tmp_path, tiny, own_cache):
    p = Path(shutil.copytree(tiny, tmp_path/'d'))
    truncate(sorted((p/'val'/'red_blue').iterdir())[0])
    with pytest.raises(CliError): DecodedImages(p)
    assert not [o for o in own_cache.iterdir() if not o.name.endswith('.lock')]

# ---- the embedded set

def test_the_embedded_set_is_the_same_bytes_every_time(tmp_path):
    a,b,c = (make_shapes(tmp_path/o, 12, 6, seed=s) for o,s in (('a',0),('b',0),('c',1)))
    assert content(a)==content(b)!=content(c) and len(content(a))==19

def test_the_embedded_set_is_real_jpegs_in_the_official_layout(embedded):
    tr,va = split_files(embedded)
    assert (len(tr),len(va))==(1200,400) and set(classes(tr))==set(classes(va))==set(shape_classes) and max(classes(tr).values())-min(classes(tr).values())<=1
    with Image.open(embedded/tr[0]) as im: assert (im.format,im.size)==('JPEG',(40,40))
    assert not set(map(hash, (o for f,o in content(embedded).items() if f.startswith('train/')))) & set(map(hash,
        (o for f,o in content(embedded).items() if f.startswith('val/'))))

def test_an_embedded_set_that_is_there_is_left_alone(tmp_path):
    p = make_shapes(tmp_path/'a', 6, 6)
    (p/'mark').write_text('')
    assert (make_shapes(p, 12, 12)/'mark').exists() and [o.name for o in tmp_path.iterdir()]==['a']

def histogram(a): return np.histogramdd(a.reshape(-1,3), [np.linspace(0,256,6)]*3)[0].ravel()

def softmax_regression(x, y, steps=300, lr=.5, l2=1e-3):
    w = np.zeros((x.shape[1], y.max()+1))
    for _ in range(steps):
        p = np.exp(x@w); p /= p.sum(1, keepdims=True)
        w -= lr*(x.T@(p-np.eye(w.shape[1])[y])/len(x) + l2*w)
    return w

def accuracy_of_colours(path, part):
    "Validation accuracy of a linear classifier of the colour histogram of a part of the image"
    imgs,out = DecodedImages(path),[]
    for files in split_files(path):
        x = np.stack([histogram(part(imgs[imgs.idx[f]])) for f in files])
        out += [np.sqrt(x), np.array([shape_classes.index(f.split('/')[1]) for f in files])]
    m,s = out[0].mean(0),out[0].std(0)+.5
    f = lambda x: np.c_[(x-m)/s/np.sqrt(x.shape[1]/8), np.ones(len(x))]
    return ((f(out[2])@softmax_regression(f(out[0]), out[1])).argmax(1)==out[3]).mean()

def test_colours_alone_do_not_tell_the_classes(embedded):
    "All four colours are in every image; only where they are tells the class"
    acc = accuracy_of_colours(embedded, lambda a: a)
    assert acc <= 1/6 + 4*np.sqrt(5/36/400), acc
    assert accuracy_of_colours(embedded, lambda a: a[:20]) > 1/6 + 4*np.sqrt(5/36/400), 'the same classifier sees that there is something to see'

def test_bytes_are_normalised_as_fastai_does_it():
    from fastai.data.transforms import IntToFloatTensor,Normalize
    from fastai.vision.core import TensorImage,imagenet_stats
    from simpleattn.data import NormaliseBytes
    x = TensorImage(torch.randint(0, 256, (9,5,7,3), dtype=torch.uint8).permute(0,3,1,2))
    want = Normalize.from_stats(*imagenet_stats, cuda=False)(IntToFloatTensor()(x))
    ours = NormaliseBytes.from_stats(*imagenet_stats, cuda=False)
    got = ours(x)
    assert type(got) is TensorImage and got.is_contiguous(memory_format=torch.channels_last) and (got-want).abs().max()<1e-6
    assert torch.allclose(ours.decode(got), x.float()/255, atol=1e-6) and torch.equal(ours(x.float()), Normalize.from_stats(*imagenet_stats, cuda=False)(x.float()))

def test_a_full_cache_is_named_and_leaves_nothing_behind(tiny, monkeypatch, tmp_path):
    import errno
    from simpleattn import data
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    def full(*args): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(data, '_decode', full)
    with pytest.raises(CliError, match='No space left.*XDG_CACHE_HOME') as e: DecodedImages(tiny, 33)
    assert str(data.cache_dir()) in str(e.value) and not [*data.cache_dir().glob('building-*')]

def test_a_data_set_in_a_folder_of_a_folder(tmp_path):
    "Its name holds a slash, its lock's does not"
    make_shapes(tmp_path/'pets'/'cats', 12, 12, 16)
    assert get_path('pets/cats', data=tmp_path)==tmp_path/'pets'/'cats'

@pytest.mark.parametrize('shape', [(5,4), (5,4,1), (5,4,3)])
def test_an_array_of_yes_and_no_is_of_black_and_white_pixels(shape):
    from simpleattn.data import decode_item
    yes = np.random.default_rng(0).random(shape)>.5
    assert np.array_equal(decode_item(yes), np.broadcast_to(255*yes.reshape(5,4,-1), (5,4,3)))
