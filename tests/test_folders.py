"""Images of others: awkward files and folders, made here, are read as a person would expect, or named"""
import errno,io,json,os,shutil,stat,struct,sys,tarfile,time,warnings,zipfile
from pathlib import Path
import numpy as np, pytest
from PIL import Image,TiffImagePlugin
from fastcore.script import CliError
from conftest import python
from simpleattn import folders
from simpleattn.data import DecodedImages,get_dls
from simpleattn.folders import (_faults_of,check_data,class_name,class_names,find_data,fingerprint,get_path,image_files,list_images,noisy_labels,read_image,split_files,split_folder,
                                split_list,unpack)
from simpleattn.recipes import OtherData,Recipe,derive

rng = np.random.default_rng(0)
def photo(h=40, w=48): return Image.fromarray(rng.integers(0, 256, (h,w,3), 'u1'))

def write_images(folder, names=('0.png','1.png'), **kwargs):
    "Images of chance, one for each name"
    for name in names:
        file = folder/name
        file.parent.mkdir(parents=True, exist_ok=True)
        photo().save(file, **kwargs)
    return folder

def write_set(path, classes='ab', parts=('train','val'), n=4):
    for part in parts:
        for c in classes: write_images(path/part/c, [f'{c}{i}.png' for i in range(n)])
    return path

@pytest.fixture
def pics(tmp_path): return write_set(tmp_path/'pics')
@pytest.fixture
def flat(tmp_path): return write_set(tmp_path, ('cat','dog'), ('flat',), 10)/'flat'

def small(**kw): return Recipe('small', **{**dict(dataset='pics', source='full', bs=4, size=32, val_extra=8, widen=.125, backbone='xresnet18', epochs=1), **kw})
def names(path): return [f for f,_ in list_images(path)]

@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    "Run one command in the test's folder: exit status, output, errors"
    from simpleattn.cli import main
    monkeypatch.chdir(tmp_path)
    def f(*args):
        capsys.readouterr()
        try: code = main([str(o) for o in args])
        except SystemExit as e: code = e.code
        return (code or 0, *capsys.readouterr())
    return f

# ---- formats

@pytest.mark.parametrize('suffix', ['webp','bmp','gif','tif','tiff','jfif','ppm','JPG','PNG','TIF'])
def test_images_of_every_usual_format_are_images(pics, suffix):
    photo().save(pics/'train'/'a'/f'new.{suffix}')
    assert f'train/a/new.{suffix}' in names(pics) and len(names(pics))==17
    imgs = DecodedImages(pics)
    want = np.asarray(Image.open(pics/'train'/'a'/f'new.{suffix}').convert('RGB'))
    assert (imgs[imgs.idx[f'train/a/new.{suffix}']]==want).all() and check_data(pics)['stray']==[]

def test_a_format_that_pillow_cannot_read_here_is_named_and_not_lost(pics, call):
    (pics/'train'/'a'/'IMG_1.HEIC').write_bytes(b'\0\0\0\x18ftypheic')
    code,out,err = call('data', 'pics')
    assert code==2 and 'IMG_1.HEIC' in err
    with pytest.raises(CliError, match='IMG_1.HEIC'): get_dls(small(), 0, pics)

SIXTEEN = {'png':'g.png', 'tif':'g.tif', 'pgm':'g.pgm'}
@pytest.mark.parametrize('name', SIXTEEN.values())
def test_16_bit_grey_is_scaled_and_not_white(tmp_path, name):
    levels = np.linspace(0, 65535, 48*48).reshape(48,48).astype('u2')
    Image.fromarray(levels).save(tmp_path/name)
    got = np.asarray(read_image(tmp_path/name)).astype(int)
    assert got.shape==(48,48,3) and np.abs(got-(levels/257)[...,None]).max()<=.51

def test_16_bit_grey_of_the_other_byte_order(tmp_path):
    levels = np.linspace(0, 65535, 64).reshape(8,8).astype('>u2')
    Image.frombytes('I;16B', (8,8), levels.tobytes()).save(tmp_path/'g.tif')
    assert np.abs(np.asarray(read_image(tmp_path/'g.tif'))[...,0]-levels/257).max()<=.51

@pytest.mark.parametrize('kind', ['f4','i4'])
def test_greys_without_a_scale_are_refused(pics, kind):
    "A float of 0 to 1 would be black"
    Image.fromarray(np.ones((8,8), kind)).save(pics/'train'/'a'/'depth.tif')
    assert 'no stated scale' in check_data(pics)['unreadable']['train/a/depth.tif']
    with pytest.raises(CliError, match='depth.tif'): get_dls(small(), 0, pics)

def test_a_rotation_is_named_and_not_applied(pics, call):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(40, 60).save(pics/'train'/'a'/'phone.jpg', exif=exif)
    exif[0x0112] = 1
    photo(40, 60).save(pics/'train'/'a'/'upright.jpg', exif=exif)
    assert check_data(pics)['rotated']==['train/a/phone.jpg']
    imgs = DecodedImages(pics)
    assert imgs.hw[imgs.idx['train/a/phone.jpg']].tolist()==[40,60], 'as fastai reads it'
    assert 'turned by EXIF, which is not applied: train/a/phone.jpg' in call('data', 'pics')[1]

@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg','png','tif','webp'])
def test_a_rotation_is_applied_in_no_format(tmp_path, suffix, orientation):
    "Pillow turns TIFF as it loads it, so that two photographs of one camera were read in two orientations"
    exif,file = Image.Exif(), tmp_path/f'phone.{suffix}'
    exif[0x0112] = orientation
    stored = photo(40, 60)
    how = dict(lossless=True) if suffix=='webp' else {}
    stored.save(file, exif=exif, **how)
    got = read_image(file)
    assert got.size==(60,40) and (suffix=='jpg' or (np.asarray(got)==np.asarray(stored)).all())
    assert bool(_faults_of(file)['rotated'])==(orientation>1)

@pytest.mark.parametrize('mode', ['L','P','RGBA','I;16','CMYK'])
@pytest.mark.parametrize('orientation', [3,5,6,8])
def test_a_tiff_without_compression_is_read_as_stored(tmp_path, mode, orientation):
    "Pillow maps its rows, at the width that the picture has after the turn"
    stored = Image.fromarray(rng.integers(0, 65536, (20,30)).astype('u2')) if mode=='I;16' else photo(20, 30).convert(mode)
    exif = Image.Exif()
    stored.save(tmp_path/'plain.tif')
    exif[0x0112] = orientation
    stored.save(tmp_path/'phone.tif', exif=exif)
    assert (np.asarray(read_image(tmp_path/'phone.tif'))==np.asarray(read_image(tmp_path/'plain.tif'))).all()

@pytest.mark.parametrize('bits,kind', [(12,'tif'),(12,'png'),(8,'png'),(16,'png')])
def test_a_grey_that_holds_fewer_bits_than_it_says_is_named(pics, call, bits, kind):
    Image.fromarray((rng.random((40,40))*(2**bits-1)).astype('u2')).save(pics/'train'/'a'/f'x.{kind}')
    assert check_data(pics)['dark']==[f'train/a/x.{kind}']*(bits<16)
    code,out,err = call('data', 'pics')
    assert code==0 and (f'do not: train/a/x.{kind}' in out)==(bits<16)

def test_an_animation_is_its_first_picture_and_named(pics):
    first,second = photo(),photo()
    first.save(pics/'train'/'a'/'film.gif', save_all=True, append_images=[second])
    assert check_data(pics)['animated']==['train/a/film.gif']
    with Image.open(pics/'train'/'a'/'film.gif') as o: assert (np.asarray(read_image(o.filename))==np.asarray(o.convert('RGB'))).all()

def test_a_decompression_bomb_is_one_line(pics, call):
    import struct,zlib
    def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    for side in (40_000, 10_000): # an error of Pillow, and only a warning
        head = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0))
        (pics/'train'/'a'/f'bomb{side}.png').write_bytes(b'\x89PNG\r\n\x1a\n'+head+chunk(b'IDAT', zlib.compress(b'\0'*1000))+chunk(b'IEND', b''))
    with warnings.catch_warnings(record=True) as seen:
        code,out,err = call('data', 'pics')
    assert code==2 and 'bomb40000.png' in err and 'bomb10000.png' in err and err.count('\n')==1 and not seen
    with pytest.raises(CliError, match='bomb'): get_dls(small(), 0, pics)

@pytest.mark.parametrize('content', [b'', b'GIF89a', b'BM', b'RIFF\0\0\0\0WEBP', b'II*\0', b'P5\n', b'\x89PNG\r\n\x1a\n', bytes(range(256))*4])
@pytest.mark.parametrize('suffix', ['gif','bmp','webp','tif','ppm','tga','jp2'])
def test_whatever_is_no_image_is_a_reason_and_no_traceback(tmp_path, content, suffix):
    (tmp_path/f'x.{suffix}').write_bytes(content)
    with pytest.raises(ValueError, match='Error'): read_image(tmp_path/f'x.{suffix}')

# ---- folders

def test_images_in_folders_within_a_class_belong_to_it(pics, call):
    write_images(pics/'train'/'a', ['2019/x.png','2019/05/y.webp'])
    assert [o for o in names(pics) if o.startswith('train/a/2019')]==['train/a/2019/05/y.webp','train/a/2019/x.png']
    assert check_data(pics)['classes']['a']==dict(train=6, val=4) and 'images in folders within their class, to which they count: 2' in call('data', 'pics')[1]
    imgs = DecodedImages(pics)
    assert (imgs[imgs.idx['train/a/2019/x.png']]==np.asarray(Image.open(pics/'train'/'a'/'2019'/'x.png'))).all()

def test_what_programs_leave_behind_is_no_class_and_no_image(pics):
    before = names(pics)
    for part in ('train','val'): write_images(pics/part, ['.ipynb_checkpoints/0.png','__MACOSX/0.png'])
    write_images(pics/'train'/'a', ['.hidden.png','.ipynb_checkpoints/a0-checkpoint.png','@eaDir/a0.png/thumb.jpg'])
    (pics/'train'/'a'/'._a0.png').write_bytes(b'\0\5\x16\7 of a Mac')
    (pics/'.DS_Store').touch(); (pics/'train'/'.DS_Store').touch()
    list_images.cache_clear()
    d = check_data(pics)
    assert names(pics)==before and d['unreadable']=={} and d['stray']==[] and [*d['classes']]==['a','b']

def test_valid_goes_before_test_and_what_is_not_read_is_said(pics, call):
    (pics/'val').rename(pics/'valid')
    write_images(pics/'test'/'a'); write_images(pics/'test'/'b')
    assert all(f.startswith('valid/') for f in split_files(pics)[1])
    out = call('data', 'pics')[1]
    assert 'validation: the folder valid' in out and 'not read: test' in out

def test_images_without_a_class_are_named(pics):
    write_images(pics/'train', ['loose.png'])
    with pytest.raises(CliError, match='loose.png in train/ has no class folder'): list_images(pics)

LINKS = {'to itself':('train/a/l.png', 'l.png'), 'to nowhere':('train/a/gone.png', '/nowhere/x.png'), 'to its folder':('train/a/loop', '.'), 'to its part':('train/a/loop', '..'),
    'to the whole':('val/b/loop', '../..'), 'a class to its part':('train/c', '.'), 'a class to nowhere':('train/c', 'nowhere')}
@pytest.mark.parametrize('kind', LINKS)
def test_a_link_that_leads_nowhere_or_in_a_circle_is_one_line(pics, call, kind):
    name,to = LINKS[kind]
    (pics/name).symlink_to(to)
    code,out,err = call('data', 'pics')
    assert code==2 and name in err and 'cannot be followed' in err and err.count('\n')==1, err
    with pytest.raises(CliError, match=name): get_dls(small(), 0, pics)

def test_two_classes_that_link_to_each_other_are_named(pics):
    (pics/'train'/'a'/'b').symlink_to('../b'); (pics/'train'/'b'/'a').symlink_to('../a')
    with pytest.raises(CliError, match='train/a/b/a.*train/b/a/b'): list_images(pics)

def test_links_that_lead_somewhere_are_followed(pics, tmp_path):
    big = write_images(tmp_path/'elsewhere'/'big', ['0.png','1.png'])
    (pics/'train'/'a'/'more').symlink_to(big); (pics/'val'/'a'/'one.png').symlink_to(big/'0.png')
    assert {'train/a/more/0.png','train/a/more/1.png','val/a/one.png'} <= {*names(pics)}
    assert ['train/a/more/0.png','val/a/one.png'] in check_data(pics)['duplicates']['train and val']

def test_a_folder_that_changes_is_listed_anew(pics):
    assert len(names(pics))==16
    (pics/'train'/'a'/'a0.png').unlink()
    assert len(names(pics))==15 and len(get_dls(small(), 0, pics).train_ds)==7

# ---- what `data` names

def test_the_same_image_in_both_parts_or_two_classes_is_named(pics, call):
    shutil.copy(pics/'train'/'a'/'a0.png', pics/'val'/'a'/'copy.png')
    shutil.copy(pics/'train'/'a'/'a1.png', pics/'train'/'b'/'other.png')
    shutil.copy(pics/'val'/'b'/'b1.png', pics/'val'/'b'/'again.png')
    assert check_data(pics)['duplicates']=={'train and val':[['train/a/a0.png','val/a/copy.png']],
        'two classes':[['train/a/a1.png','train/b/other.png']], 'one class':[['val/b/again.png','val/b/b1.png']]}
    out = call('data', 'pics')[1]
    assert all(f'the same image in {o}: ' in out for o in ('train and val','two classes','one class'))

def test_many_copies_are_counted(pics, call):
    for i in range(9): shutil.copy(photo_file(pics, i), pics/'val'/'b'/f'copy{i}.png')
    out = call('data', 'pics')[1]
    assert out.count('the same image in train and val: ')==6 and 'train and val: 4 more' in out

def photo_file(pics, i):
    file = pics/'train'/'b'/f'new{i}.png'
    photo().save(file)
    return file

def test_one_class_is_refused(tmp_path, call):
    write_set(tmp_path/'pics', 'a')
    code,out,err = call('data', 'pics')
    assert code==2 and 'one class' in err
    with pytest.raises(CliError, match='one class'): get_dls(small(), 0, tmp_path/'pics')

def test_a_small_validation_set_is_named(pics, call):
    assert 'small validation set: 8 images, so one image is 12.50 pp' in call('data', 'pics')[1]
    write_images(pics/'val'/'a', [f'{i}.png' for i in range(92)])
    assert 'small validation' not in call('data', 'pics')[1]

def test_own_data_hear_nothing_of_split_v1(pics, call):
    assert 'split v1' not in call('data', 'pics')[1]

def test_a_recipe_is_meant_by_its_name_for_batches_too(pics, monkeypatch, tmp_path):
    (tmp_path/'settings.ini').write_text('[mine]\ndataset = pics\nsource = full\nbs = 4\nsize = 32\nval_extra = 8\n')
    monkeypatch.chdir(tmp_path)
    assert get_dls('mine', 0, pics).train.bs==4

def test_a_batch_that_fits_is_proposed(pics):
    with pytest.raises(CliError, match='bs = 64.* 8 train images.*--set bs=8'): get_dls(small(bs=64), 0, pics)

# ---- ./pics

def test_data_takes_a_place_as_its_name(pics, call, tmp_path, monkeypatch):
    shutil.make_archive(tmp_path/'packed', 'zip', tmp_path, 'pics')
    want = call('data', 'pics', '--data', pics)[1]
    for word in ('./pics', 'pics', 'pics/', '../'+tmp_path.name+'/pics', str(pics), 'packed.zip'): assert call('data', word)[:2]==(0, want), word
    monkeypatch.chdir(pics)
    assert call('data', '.')[:2]==(0, want)

def test_a_name_under_the_data_root_goes_before_a_folder_of_that_name(pics, call, tmp_path, monkeypatch):
    monkeypatch.setenv('SIMPLEATTN_DATA', str(tmp_path/'root'))
    write_set(tmp_path/'root'/'pics', 'abc')
    assert '24 images' in call('data', 'pics')[1] and '16 images' in call('data', './pics')[1]

# ---- a folder of classes

def test_a_folder_of_classes_hears_the_layout_and_the_line_that_splits_it(flat, call):
    code,out,err = call('data', './flat')
    assert code==2 and 'train/CLASS' in err and err.count('\n')==1
    line = err.strip().rpartition(': ')[2].split()
    assert line==['simpleattn','data','flat','--split','0.2','--seed','0']
    code,out,err = call(*line[1:])
    assert code==0 and '20 images' in out and 'cat    8      2' in out and err==''

def test_a_split_is_a_list_beside_the_folder_and_moves_nothing(flat, call, tmp_path):
    def listing(): return {o:(o.stat().st_size, o.stat().st_mtime_ns, o.stat().st_ino) for o in flat.rglob('*')}
    before = listing()
    assert call('data', 'flat', '--split', '0.3')[0]==0
    assert listing()==before and {o.name for o in tmp_path.iterdir()}=={'flat','flat.split.csv'}
    train,val = split_files(flat)
    assert len(train)==14 and len(val)==6 and {f.split('/')[1] for f in val}=={'cat','dog'}

def test_a_note_that_came_with_a_folder_leads_nowhere(flat, call, tmp_path):
    "Only our own cache says where an archive was"
    home = tmp_path/'home'
    home.mkdir()
    (home/'flat.split.csv').write_text('path,part\nmine/1.png,train\n')
    for folder in (tmp_path, tmp_path/'unpacked-01234567'):
        folder.mkdir(exist_ok=True)
        (folder/'.unpacked-from').write_text(str(home/'x.zip'))
        if folder!=tmp_path: shutil.copytree(flat, folder/'flat')
        assert call('data', folder/'flat', '--split', '0.2')[0]==0 and split_list(folder/'flat').parent==folder.resolve()
    assert (home/'flat.split.csv').read_text()=='path,part\nmine/1.png,train\n'

def test_a_note_in_somebodys_folder_is_no_name_of_it(tmp_path, call):
    "What cannot be read is called by its own place"
    for folder in (tmp_path/'theirs', tmp_path/'unpacked-01234567'):
        write_set(folder/'pics', parts=('train',))
        (folder/'.unpacked-from').write_text('/bin/sh')
        code,_,err = call('data', folder/'pics')
        assert code==2 and str(folder/'pics') in err and '/bin/sh' not in err

@pytest.mark.parametrize('seal', [b'\xff\xfe\x00', b'', b'0'*64, b'\x00'*10**6])
def test_a_seal_of_the_drawn_images_that_is_damaged_is_written_anew(embedded, seal):
    file = embedded.with_suffix('.sha256')
    before = file.read_bytes()
    file.write_bytes(seal)
    assert get_path('shapes', 'full')==embedded and file.read_bytes()==before

def test_the_list_of_another_folder_is_not_replaced(flat, call):
    theirs = 'path,part\nmine/1.png,train\nmine/2.png,val\n'
    split_list(flat).write_text(theirs)
    code,_,err = call('data', 'flat', '--split', '0.2')
    assert code==2 and 'lists none of these images' in err and split_list(flat).read_text()==theirs

def test_a_list_is_written_through_no_link(flat, tmp_path):
    (tmp_path/'mine').write_text('path,part\ncat/cat0.png,val\n')
    split_list(flat).symlink_to(tmp_path/'mine')
    with pytest.raises(CliError, match='is a link'): split_folder(flat)
    assert (tmp_path/'mine').read_text()=='path,part\ncat/cat0.png,val\n'

def test_every_later_reading_uses_the_list(flat, call, monkeypatch):
    split_folder(flat, .2)
    val = split_files(flat)[1]
    monkeypatch.setenv('SIMPLEATTN_DATA', str(flat.parent))
    for path in (get_path('flat', 'full', flat), get_path('flat', 'full', flat.parent), get_path('flat')): assert split_files(path)[1]==val
    dls = get_dls(small(dataset='flat'), 0, flat)
    assert len(dls.valid_ds)==4 and [*dls.vocab]==['cat','dog']
    imgs = dls.valid_ds.imgs
    for f in val: assert (imgs[imgs.idx[f]]==np.asarray(Image.open(flat/f.partition('/')[2]))).all(), f
    assert call('data', 'flat')[0]==0
    assert image_files(flat, val)==[flat/f.partition('/')[2] for f in val] and all(o.is_file() for o in image_files(flat, val))

def test_a_run_on_a_split_folder_and_its_report_find_the_images(flat):
    from simpleattn.report import _named,Differing,DifferingImage
    from simpleattn.train import train_one
    split_folder(flat, .2)
    run = train_one(small(dataset='flat'), data=flat, device='cpu')
    assert (run.data['n_train'],run.data['n_val'])==(16,4) and run.status=='ok'
    differ = Differing('a', 2, 4, 1, 1, 0., (DifferingImage(0, None, 0, 2),))
    image, = _named([differ], run, flat, True)[0].images
    assert image.name==split_files(flat)[1][0] and image.jpeg

def test_a_split_is_the_same_everywhere_and_another_seed_gives_another(flat, tmp_path):
    copy = Path(shutil.copytree(flat, tmp_path/'copy'))
    one,two = (split_folder(o, .2, 0).read_text() for o in (flat,copy))
    assert one==two
    split_list(copy).unlink()
    assert split_folder(copy, .2, 1).read_text()!=one
    assert split_folder(flat, .2, 0).read_text()==one, 'again is no fault'
    for fraction,seed in ((.2,1),(.5,0)):
        with pytest.raises(CliError, match='is there and splits otherwise'): split_folder(flat, fraction, seed)

def test_a_list_that_a_spreadsheet_has_saved_is_the_same_list(flat, call):
    call('data', 'flat', '--split', '0.2')
    parts = split_files(flat)
    split_list(flat).write_bytes(b'\xef\xbb\xbf'+split_list(flat).read_bytes())
    assert split_files(flat)==parts

def test_copies_of_an_image_stay_on_one_side(flat):
    for i in range(10): shutil.copy(flat/'cat'/f'cat{i}.png', flat/'cat'/f'copy{i}.png')
    split_folder(flat, .3)
    d = check_data(flat)
    assert d['duplicates']['train and val']==[] and len(d['duplicates']['one class'])==10 and d['classes']['cat']==dict(train=14, val=6)

@pytest.mark.parametrize('change,says', [(lambda p: photo().save(p/'cat'/'new.png'), '1 new, 0 gone'), (lambda p: (p/'dog'/'dog0.png').unlink(), '0 new, 1 gone'),
    (lambda p: (p/'cat').rename(p/'puma'), '10 new, 10 gone')])
def test_a_folder_that_its_list_does_not_fit_is_refused(flat, change, says):
    split_folder(flat)
    change(flat)
    with pytest.raises(CliError, match=f'{says}.*simpleattn data'): list_images(flat)
    split_folder(flat)
    assert len(list_images(flat))==len([*flat.rglob('*.png')]), 'and is split again, since the old list fits nothing'

@pytest.mark.parametrize('text', ['', 'path\n', 'path,part\ncat/cat0.png\n', 'path,part\ncat/cat0.png,test\n', 'a,b\n1,2\n'])
def test_a_list_that_is_none_is_refused(flat, text):
    split_list(flat).write_text(text)
    with pytest.raises(CliError, match='not a list of a split|has changed'): list_images(flat)

@pytest.mark.parametrize('make', [lambda p: p.write_bytes(b'caf\xe9 \xff'), lambda p: p.write_text('path,part\n"'+200_000*'x'+'",val\n'), lambda p: p.write_text('path,part\n\0'), os.mkfifo, lambda p: p.mkdir()], ids=['bytes','long','nul','pipe','folder'])
@pytest.mark.parametrize('beside', ['list','checksum','noise'])
def test_what_lies_beside_images_is_text_or_refused_in_a_line(flat, tmp_path, call, make, beside):
    "And nobody waits for the other end of a pipe"
    archive = tmp_path/'set.zip'
    shutil.make_archive(tmp_path/'set', 'zip', tmp_path, flat.name)
    make(dict(list=split_list(flat), checksum=tmp_path/'set.zip.sha256', noise=flat/'noisy_flat.csv')[beside])
    if beside=='noise':
        with pytest.raises(CliError, match='noisy_flat.csv'): noisy_labels(flat, 5)
        return
    code,out,err = call('data', archive if beside=='checksum' else flat, '--split', '0.2')
    assert code==2 and err.count('\n')==1 and ('split.csv' in err or 'sha256' in err) and 'Not a directory' not in err

@pytest.mark.parametrize('place', ['pipe.tgz','pipe','/dev/null'])
def test_what_is_neither_a_folder_nor_a_file_is_no_data_set(tmp_path, call, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    if place!='/dev/null': os.mkfifo(place)
    for words in (['data', './'+place if '/' not in place else place], ['data','imagewoof','--data',place]):
        code,out,err = call(*words)
        assert code==2 and err.count('\n')==1 and 'Not a directory' not in err and 'is kept' not in err

def test_a_pipe_among_images_is_called_what_it_is(pics, call):
    os.mkfifo(pics/'train'/'a'/'p.png')
    code,out,err = call('data', 'pics')
    assert code==2 and 'p.png' in err and 'a pipe or a device' in err

def test_train_without_validation_is_split_too(tmp_path, call):
    write_set(tmp_path/'pics', 'ab', ('train',), 10)
    code,out,err = call('data', 'pics')
    assert code==2 and 'no val folder' in err and '--split 0.2' in err
    assert call('data', 'pics', '--split', '0.2')[0]==0 and len(split_files(tmp_path/'pics')[1])==4
    assert len(get_dls(small(), 0, tmp_path/'pics').train_ds)==16

def test_what_cannot_be_split_is_refused(pics, flat, call):
    assert 'has the validation folder val' in call('data', 'pics', '--split', '0.2')[2]
    for o in ('0','1','-1','nan'): assert call('data', 'flat', f'--split={o}')[0]==2
    write_images(flat/'single', ['0.png'])
    code,_,err = call('data', 'flat', '--split', '0.2')
    assert code==2 and 'Class single holds one image' in err and not split_list(flat).exists()
    (flat/'empty').mkdir()
    assert 'holds no image' in call('data', 'flat', '--split', '0.2')[2]

def test_a_folder_and_a_list_that_speak_against_each_other(flat):
    split_folder(flat)
    write_images(flat/'val'/'cat')
    with pytest.raises(CliError, match='Remove one of them'): list_images(flat)

# ---- another data set

def test_a_folder_of_another_data_set_is_refused_with_the_line_that_works(pics, tmp_path, call, layers):
    write_set(tmp_path/'imagenette2-160', class_names['imagenette'])
    asked = [(['train','woof-cpu','--data','pics'], 'dataset=pics'), (['study','woof-cpu','--data','./pics','--set','lr=1e-3'], 'dataset=pics'),
        (['study','demo','--data','pics'], 'dataset=pics'), (['train','demo','--data','pics'], 'dataset=pics'), (['race','demo','--data','pics'], 'dataset=pics'),
        (['study','woof-cpu','--data','imagenette2-160'], 'dataset=imagenette source=160')]
    for words,change in asked:
        code,out,err = call(*words)
        line = err.strip().splitlines()[-1].partition('This works: ')[2]
        assert code==2 and line.startswith(f'simpleattn {words[0]} {words[1]} ') and f'--set {change}' in line and not list(tmp_path.rglob('_studies/*.json')), (words,err)
        assert [o for o in words if o not in line.split()]==[]

def test_the_line_that_works_works(tmp_path, call):
    write_set(tmp_path/'my pics', 'ab', n=16)
    code,out,err = call('train', 'demo', '--data', './my pics', '--device', 'cpu', '--set', 'epochs=1')
    line = err.strip().splitlines()[-1].partition('This works: simpleattn ')[2]
    import shlex
    code,out,err = call(*shlex.split(line))
    assert code==0 and '(ok)' in out, err

def pasted(call, *words):
    "The line that a refusal prints, as one would type it"
    import shlex
    code,out,err = call(*words)
    assert code==2 and not Path('runs').exists(), err
    return shlex.split(err.strip().splitlines()[-1].partition('This works: simpleattn ')[2])

@pytest.mark.parametrize('verb', ['train','study'])
def test_the_line_for_a_small_folder_carries_its_batch(tmp_path, call, verb):
    write_set(tmp_path/'few', 'ab', n=10)
    for words in ([], ['--set','bs=32','epochs=1'], ['--set','dataset=imagenette','lr=1e-3']):
        line = pasted(call, verb, 'woof-cpu', '--data', './few', *words)
        assert 'bs=16' in line and 'dataset=few' in line and sum(o.startswith(('bs=','dataset=')) for o in line)==2
    code,out,err = call(verb, 'woof-cpu', '--data', './few', '--set', 'dataset=few')
    assert code==2 and '20 train images' in err and '--set bs=16' in err and not Path('runs').exists()

def test_the_line_for_a_small_folder_works(tmp_path, call):
    write_set(tmp_path/'few', 'ab', n=10)
    line = pasted(call, 'train', 'demo', '--data', './few', '--device', 'cpu', '--set', 'epochs=1', 'bs=32', 'noise=5', 'split=v1')
    assert {'bs=16','noise=0','split=v2'}<={*line}
    code,out,err = call(*line)
    assert code==0 and '(ok)' in out, err

@pytest.mark.parametrize('name', ['imagewoof2-160','imagewoof2','imagenette2-160','cifar10','imagenette','shapes'])
def test_a_known_name_on_another_data_set_is_to_be_renamed(tmp_path, call, name):
    write_set(tmp_path/'sub'/name)
    for verb in ('study','train'):
        code,out,err = call(verb, 'woof-cpu', '--data', f'sub/{name}')
        assert code==2 and f'Rename {name}.' in err and 'This works' not in err and not Path('runs').exists()
    shutil.make_archive(str(tmp_path/name), 'zip', tmp_path/'sub', name)
    code,out,err = call('train', 'woof-cpu', '--data', f'./{name}.zip')
    assert code==2 and f'Rename {name}.' in err and 'This works' not in err
    if name=='imagewoof2-160':
        code,out,err = call('study', 'woof-cpu', '--data', 'sub')
        assert code==2 and f'Rename {name}.' in err and 'This works' not in err

# ---- one level down, other names, and lists of archives

def test_a_folder_around_the_data_set_is_looked_into(tmp_path, call):
    write_set(tmp_path/'outer'/'inner')
    code,out,err = call('data', './outer')
    assert code==0 and '16 images' in out, err
    write_set(tmp_path/'two'/'one'), write_set(tmp_path/'two'/'other')
    code,out,err = call('data', './two')
    assert code==2 and 'one, other' in err

@pytest.mark.parametrize('parts,change', [(('Train','Val'), 'Train: rename it to train'), (('TRAIN','val'), 'TRAIN: rename it to train'), (('train','Val'), 'Rename its validation folder to val')])
def test_parts_in_capitals_are_named(tmp_path, call, parts, change):
    write_set(tmp_path/'caps', parts=parts)
    code,out,err = call('data', './caps')
    assert code==2 and change in err

def test_a_folder_validation_validates(tmp_path):
    p = write_set(tmp_path/'pics', parts=('train','validation','test'))
    assert check_data(p)['validation']=='validation' and check_data(p)['not_read']==['test']

def test_the_list_of_an_archive_lies_beside_it(flat, tmp_path, call):
    archive = Path(shutil.make_archive(str(tmp_path/'z'/'flat_z'), 'zip', tmp_path, 'flat'))
    code,out,err = call('data', './z/flat_z.zip', '--split', '0.2')
    file = archive.with_name('flat_z.split.csv')
    assert code==0 and file.is_file() and str(file) in out, err
    parts = file.read_text()
    os.utime(archive, (0, 10**9))
    code,out,err = call('data', './z/flat_z.zip')
    assert code==0 and file.read_text()==parts, err
    moved = (tmp_path/'z').rename(tmp_path/'elsewhere')
    assert [*map(len, split_files(get_path('flat_z', 'full', moved/'flat_z.zip')))]==[16,4]

def test_a_folder_of_data_sets_serves_a_study_of_shapes_too(pics, tmp_path):
    assert get_path('shapes', 'full', tmp_path).name=='shapes'==get_path('shapes', 'full', get_path('shapes')).name

def test_counts_that_contradict_a_known_data_set_are_refused(tmp_path, call, monkeypatch):
    p = write_set(tmp_path/'imagewoof2-160', class_names['imagewoof'], n=2)
    recipe = Recipe('r', size=32, val_extra=8, bs=4)
    assert find_data(recipe, p)==p, 'a part of it is good'
    monkeypatch.setitem(folders.official, 'imagewoof2', (19,3929))
    with pytest.raises(OtherData, match='has 19 train images, and this has 20'): get_dls(recipe, 0, p)
    monkeypatch.undo()
    shutil.rmtree(p/'train'/'n02111889'); shutil.rmtree(p/'val'/'n02111889')
    with pytest.raises(OtherData, match='10 classes.*this has 9'): get_dls(recipe, 0, p)
    code,out,err = call('data', 'imagewoof', '--data', p)
    assert code==2 and '36 images' in out and 'this has 9' in err

@pytest.mark.parametrize('verb', ['train','study','race'])
def test_photographs_that_are_not_read_are_counted_before_anything_is_trained(pics, call, verb, monkeypatch):
    "Of a format that is not known here, of a camera, without a suffix"
    folders._tell_of_stray.cache_clear()
    def now_it_would_train(*args): sys.exit('now it would train')
    for o in ('simpleattn.runs.probe','simpleattn.study.check_engine'): monkeypatch.setattr(o, now_it_would_train)
    for name in ('train/a/x.j2k','train/a/y.J2K','val/b/a.cr2','val/b/none'): (pics/name).write_bytes(b'x')
    code,out,err = call(verb, 'demo', '--data', 'pics', '--set', 'dataset=pics', 'source=full', 'bs=4')
    assert err.count('pics: 4 files are not images by their names, and not read: 2 .j2k, 1 .cr2, 1 without a suffix. `simpleattn data` lists them.')==1, err
    for name in ('train/a/y.J2K','val/b/a.cr2','val/b/none'): (pics/name).unlink()
    assert 'pics: 1 file is not an image by its name, and not read: 1 .j2k.' in call(verb, 'demo', '--data', pics, '--set', 'dataset=pics', 'source=full', 'bs=4')[2]

@pytest.mark.parametrize('name', ['pics.7z','pics.rar','pics.zip','pics.tar.zst'])
def test_an_archive_of_another_kind_is_called_so(tmp_path, call, name):
    (tmp_path/name).write_bytes(b"7z\xbc\xaf'\x1c"*99)
    code,out,err = call('data', f'./{name}')
    assert code==2 and 'neither a whole zip file nor a tar file. Unpack it, and give its folder' in err and err.count('\n')==1

def test_a_part_of_a_known_data_set_is_said_once(tmp_path, capsys):
    p = write_set(tmp_path/'imagewoof2-160', class_names['imagewoof'], n=2)
    for _ in range(2): find_data(Recipe('r', size=32, val_extra=8, bs=4), p)
    err = capsys.readouterr().err
    assert err.count('holds 40 of the 12954 images of imagewoof')==1 and '--set dataset=NAME' in err

def _images_at(root, *places):
    for i,o in enumerate(places):
        (root/o).mkdir(parents=True, exist_ok=True)
        for k in range(5): Image.fromarray(np.full((8,8,3), 9*i+k, 'u1')).save(root/o/f'{k}.png')
    return root

@pytest.mark.parametrize('form', ['folder','zip','tar'])
def test_classes_with_folders_of_their_own_are_split(tmp_path, call, form):
    p = _images_at(tmp_path/'nest', 'cat/anna', 'cat/bob', 'dog/carl')
    if form!='folder': p = Path(shutil.make_archive(str(tmp_path/'packed'), form, tmp_path, 'nest'))
    assert f'simpleattn data {p} --split 0.2' in call('data', str(p))[2]
    code,out,err = call('data', str(p), '--split', '0.2')
    assert code==0 and '15 images' in out, err

LAYOUTS = dict(turned=(['cat/train','cat/val','dog/train','dog/val'], ('cat, dog have parts','put train and val above them')), one=(['cat'], ('one class (cat)',)), nested_one=(['cat/anna'], ('one class',)),
    capitals=(['Train/cat','Train/dog','Validation/cat','Validation/dog'], ('rename it to train',)), training=(['training/cat','training/dog','testing/cat','testing/dog'], ('has a folder training: rename it to train',)))
@pytest.mark.parametrize('form', ['folder','zip','bztar'])
@pytest.mark.parametrize('kind', LAYOUTS)
def test_a_layout_that_cannot_be_meant_is_named_with_what_to_do(tmp_path, call, kind, form):
    places,says = LAYOUTS[kind]
    p = _images_at(tmp_path/'pics', *places)
    if form!='folder': p = Path(shutil.make_archive(str(tmp_path/'packed'), form, p, '.'))
    for more in ((), ('--split','0.2')):
        code,out,err = call('data', str(p), *more)
        assert code==2 and all(o in err for o in says) and str(p) in err, err

def test_a_fault_in_an_archive_names_the_archive(tmp_path, call):
    p = write_set(tmp_path/'mine', 'ab', n=1)
    shutil.rmtree(p/'val'/'b')
    archive = shutil.make_archive(str(tmp_path/'z1'), 'zip', tmp_path, 'mine')
    err = call('data', archive)[2]
    assert f'{archive}: class b is only in train' in err and 'unpacked-' not in err

def test_breeds_have_names(tmp_path, call):
    p = write_set(tmp_path/'imagewoof2-160', class_names['imagewoof'], n=1)
    out = call('data', 'imagewoof', '--data', p)[1]
    assert 'n02111889  Samoyed' in out and class_name('n03028079')=='church' and class_name('mine')=='mine'
    assert {len(class_names[o]) for o in class_names}=={10} and len({n for o in class_names.values() for n in o.values()})==30
    dls = get_dls(Recipe('r', size=32, val_extra=8, bs=4), 0, p)
    x,y = dls.valid_ds[0]
    assert dls.valid_ds.decode((x,y))[1]==class_name(dls.vocab[int(y)])=='Shih-Tzu'

# ---- archives

def png():
    out = io.BytesIO()
    photo().save(out, 'png')
    return out.getvalue()

def pack_zip(path, *members, top='d/', classes=('train/a','val/a')):
    with zipfile.ZipFile(path, 'w') as z:
        for o in classes: z.writestr(f'{top}{o}/x.png', png())
        for name,content in members: z.writestr(name, content)
    return path

def zip_link(name, kind=stat.S_IFLNK):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind|0o777)<<16
    return info

@pytest.mark.parametrize('top', ['d/','','one/two/d/'])
def test_a_zip_is_unpacked(tmp_path, top):
    p = unpack(pack_zip(tmp_path/'d.zip', ('__MACOSX/d/._x.png', b'x'), ('README', b'x'), top=top), tmp_path/'in'/'d')
    assert names(p)==['train/a/x.png','val/a/x.png']

def test_a_zip_of_classes_is_found_and_split(tmp_path, call):
    with zipfile.ZipFile(tmp_path/'flat.zip', 'w') as z:
        for o in ('cat','dog'):
            for i in range(5): z.writestr(f'{o}/{i}.png', png())
    assert '--split' in call('data', 'flat.zip')[2]
    assert call('data', 'flat.zip', '--split', '0.2')[0]==0==call('data', 'flat.zip')[0]

ZIPS = {'link':[(zip_link('d/l'), '../../out'), ('d/l/evil', b'x')], 'parent':[('../evil', b'x')], 'windows parent':[('..\\evil', b'x')], 'device':[(zip_link('d/dev', stat.S_IFCHR), b'')],
    'parent within':[('d/train/../../../evil', b'x')]}
@pytest.mark.parametrize('kind', ZIPS)
def test_a_zip_cannot_lead_outside(tmp_path, kind):
    (tmp_path/'out').mkdir()
    pack_zip(tmp_path/'d.zip', *ZIPS[kind])
    with pytest.raises(CliError, match='cannot be unpacked: .*(leads outside|link or a device)'): unpack(tmp_path/'d.zip', tmp_path/'in'/'deep'/'d')
    assert {o.name for o in tmp_path.rglob('*')}=={'out','d.zip','in','deep'}

def test_long_chains_of_links_do_not_lead_outside(tmp_path):
    "CVE-2025-4517: names longer than PATH_MAX defeated the filter of tarfile"
    long = 'd'*247
    with tarfile.open(tmp_path/'d.tgz', 'w:gz') as t:
        def add(name, kind, link=''):
            o = tarfile.TarInfo(name); o.type,o.linkname = kind,link
            t.addfile(o)
        path = ''
        for step in 'abcdefghijklmnop':
            add(f'{path}{long}', tarfile.DIRTYPE)
            add(f'{path}{step}', tarfile.SYMTYPE, long)
            path += f'{long}/'
        add('/'.join('abcdefghijklmnop')+'/'+'l'*254, tarfile.SYMTYPE, '../'*16)
        add('escape', tarfile.SYMTYPE, '/'.join('abcdefghijklmnop')+'/'+'l'*254+'/../../out')
        o = tarfile.TarInfo('escape/evil'); o.size = 4
        t.addfile(o, io.BytesIO(b'evil'))
    (tmp_path/'out').mkdir()
    with pytest.raises(CliError, match='link or a device|cannot be unpacked'): unpack(tmp_path/'d.tgz', tmp_path/'in'/'d')
    assert [*(tmp_path/'out').iterdir()]==[] and [*(tmp_path/'in').iterdir()]==[]

def test_tarfiles_own_extraction_is_not_used():
    "Its filters differ between Pythons"
    import inspect
    assert 'extractall' not in inspect.getsource(folders) and '.extract(' not in inspect.getsource(folders)

@pytest.mark.parametrize('damage', ['encrypted','cut','flipped'])
def test_a_broken_zip_is_an_error_and_leaves_nothing(tmp_path, damage):
    a = pack_zip(tmp_path/'d.zip')
    data = bytearray(a.read_bytes())
    if damage=='cut': data = data[:len(data)//2]
    if damage=='flipped': data[60:90] = b'\0'*30
    if damage=='encrypted':
        data[6] |= 1
        data[data.index(b'PK\1\2')+8] |= 1
    a.write_bytes(bytes(data))
    with pytest.raises(CliError, match='d.zip'): unpack(a, tmp_path/'in'/'d')
    assert [*(tmp_path/'in').iterdir()]==[]

# ---- the cache of decoded images

@pytest.fixture
def settled(tmp_path, monkeypatch, pics):
    "A cache that is believed by times: written, read once more when it was no longer fresh"
    from simpleattn import data
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'xdg'))
    monkeypatch.setattr(data, '_fresh', .01)
    DecodedImages(pics)
    time.sleep(.02)
    imgs = DecodedImages(pics)
    assert imgs.index['times'] or DecodedImages(pics).index['times']
    return pics

def keep_times(file, content):
    "Write other bytes of the same length and set the old times"
    before = file.stat()
    assert len(content)==before.st_size
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

def test_a_believed_cache_is_not_read_through(settled, monkeypatch):
    monkeypatch.setattr(DecodedImages, 'verify', lambda self: pytest.fail('read through'))
    DecodedImages(settled)

def test_a_source_that_changed_at_the_same_size_and_time_is_decoded_anew(tmp_path, settled):
    f = settled/'train'/'a'/'flat.bmp'
    Image.new('RGB', (8,8), (1,2,3)).save(f)
    assert DecodedImages(settled)[4][0,0].tolist()==[1,2,3]
    time.sleep(.02)
    DecodedImages(settled)
    keep_times(f, f.read_bytes().replace(bytes((3,2,1)), bytes((6,5,4))))
    imgs = DecodedImages(settled)
    assert imgs.files[4]=='train/a/flat.bmp' and imgs[4][0,0].tolist()==[4,5,6]

def test_an_image_that_changed_at_the_same_size_and_time_is_seen_by_the_same_process(tmp_path):
    for place in ('train/a','train/b','val/a','val/b'):
        (tmp_path/'mine'/place).mkdir(parents=True)
        for k in range(2): Image.new('RGB', (16,16), (9*k,90,20)).save(tmp_path/'mine'/place/f'{place[-1]}{k}.bmp')
    recipe = Recipe('r', dataset='mine', source='full', size=16, val_extra=8, bs=2)
    def batch(): return get_dls(recipe, 0, tmp_path/'mine').valid.one_batch()[0].clone()
    before = batch()
    assert (batch()==before).all()
    file = tmp_path/'mine'/'val'/'a'/'a0.bmp'
    white = io.BytesIO(); Image.new('RGB', (16,16), 'white').save(white, 'bmp')
    keep_times(file, white.getvalue())
    assert not (batch()==before).all()

def test_pixels_that_changed_under_the_same_time_are_made_again(settled):
    imgs = DecodedImages(settled)
    want,file = bytes(imgs.data),imgs.dir/'images.bin'
    del imgs
    keep_times(file, bytes([want[0]^1])+want[1:])
    assert bytes(DecodedImages(settled).data)==want

def test_an_index_that_changed_is_not_believed(settled):
    "Height and width exchanged: the same number of bytes"
    imgs = DecodedImages(settled)
    file = imgs.dir/'index.json'
    index = json.loads(file.read_text())
    index['hw'] = [[w,h] for h,w in index['hw']]
    file.write_text(json.dumps(index))
    assert DecodedImages(settled).hw.tolist()==imgs.hw.tolist()

@pytest.mark.parametrize('text', ['[]','null','{}','"x"','{"seal": 1}','{"hw": [[1]], "seal": "x"}'])
def test_an_index_that_is_none_is_made_again(settled, text):
    (DecodedImages(settled).dir/'index.json').write_text(text)
    assert len(DecodedImages(settled))==16

def test_a_touched_cache_is_kept(settled):
    before = (DecodedImages(settled).dir/'images.bin').stat()
    for o in settled.rglob('*'): os.utime(o)
    time.sleep(.02)
    after = (DecodedImages(settled).dir/'images.bin').stat()
    assert after.st_ino==before.st_ino, 'read through, and not decoded again'

# ---- the embedded set

DAMAGES = {'an image is gone':lambda p: next((p/'train'/'red_blue').iterdir()).unlink(), 'a class is gone':lambda p: shutil.rmtree(p/'val'/'red_blue'),
    'the csv is gone':lambda p: (p/'noisy_shapes.csv').unlink(), 'an image too many':lambda p: write_images(p/'train'/'red_blue', ['x.png'])}
@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_embedded_set_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    real = folders.make_shapes
    monkeypatch.setattr(folders, 'make_shapes', lambda path: real(path, 12, 6))
    p = get_path('shapes')
    want = names(p)
    DAMAGES[damage](p)
    assert names(get_path('shapes'))==want and (p/'noisy_shapes.csv').is_file()

def test_a_changed_image_of_the_embedded_set_is_found_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    real = folders.make_shapes
    monkeypatch.setattr(folders, 'make_shapes', lambda path: real(path, 12, 6))
    f = get_path('shapes')/'train'/'red_blue'/'red_blue_1.JPEG'
    want = f.read_bytes()
    keep_times(f, want[:-9]+bytes(9))
    folders._shapes_now.cache_clear() # as in a new process
    assert (get_path('shapes')/'train'/'red_blue'/'red_blue_1.JPEG').read_bytes()==want

# ---- light

def test_checking_images_needs_no_torch(pics):
    res = python("import sys; from simpleattn.cli import main; main(['data', sys.argv[1]]); sys.exit('torch' in sys.modules or 'fastai' in sys.modules)", str(pics))
    assert res.returncode==0 and '16 images' in res.stdout, res.stderr

def test_a_folder_that_holds_one_other_set_is_told_from_the_one_asked_for(tmp_path):
    write_set(tmp_path/'outer'/'inner')
    recipe = Recipe('mine', dataset='imagewoof', bs=2)
    with pytest.raises(OtherData, match='outer/inner is another data set') as e: find_data(recipe, tmp_path/'outer')
    assert e.value.change.startswith('dataset=inner')
    assert find_data(derive(recipe, dataset='inner', split='v2'), tmp_path/'outer')==tmp_path/'outer'/'inner'

def test_a_known_set_of_one_size_is_checked_without_its_size(tmp_path, call):
    write_set(tmp_path/'cifar10', class_names['cifar10'], ('train','test'), 1)
    for words in (['cifar10','--data',tmp_path], ['cifar10','--data',tmp_path/'cifar10'], [tmp_path/'cifar10']):
        code,out,err = call('data', *words)
        assert code==0 and 'missing: 49990 of 50000 train images' in out, (words, err)
    code,_,err = call('data', 'cifar10', '--source', '160')
    assert code==2 and err=='simpleattn: cifar10 is not stored at 160. There is: full.\n'

def test_a_full_cache_is_not_laid_on_the_archive(tmp_path, monkeypatch):
    import errno
    write_set(tmp_path/'set'/'pics')
    archive = shutil.make_archive(str(tmp_path/'pics'), 'zip', tmp_path/'set')
    def full(*args): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(shutil, 'copyfileobj', full)
    with pytest.raises(CliError, match='The cache .* cannot be written .No space left') as e: get_path('pics', 'full', archive)
    assert 'cannot be unpacked' not in str(e.value)

def test_what_cannot_be_read_is_named_by_its_file_where_a_list_splits_the_folder(tmp_path, tiny):
    pics = shutil.copytree(tiny/'train', tmp_path/'pics')
    split_folder(pics)
    bad = sorted(o for o in pics.rglob('*') if o.is_file())[0]
    bad.write_bytes(b'none')
    unreadable = check_data(pics)['unreadable']
    assert [*unreadable]==[str(bad.relative_to(pics))]

@pytest.mark.parametrize('look', [lambda pics: fingerprint(get_path('pics', data=pics)), lambda pics: check_data(pics)['fingerprint']], ids=['training','checking'])
def test_a_file_that_is_written_over_with_another_size_is_seen_by_the_next_look(pics, look):
    before = look(pics)
    (pics/'train'/'a'/'a0.png').write_bytes((pics/'train'/'b'/'b0.png').read_bytes()+b' ')
    assert look(pics)!=before

@pytest.mark.parametrize('orientation', [1,3,6])
@pytest.mark.parametrize('mode', ['L','I;16'])
def test_a_tiff_whose_zero_is_white_is_no_negative(tmp_path, mode, orientation):
    grey = np.arange(64, dtype='u1').reshape(8,8)
    stored = 255-grey if mode=='L' else 65535-grey.astype('u2')*257
    file = tmp_path/'g.tif'
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = orientation
    Image.fromarray(stored).save(file, tiffinfo=tags)
    content = file.read_bytes()
    one,zero = (struct.pack('<HHIHH', 262, 3, 1, k, 0) for k in (1,0))
    assert content.count(one)==1
    file.write_bytes(content.replace(one, zero))
    assert (np.asarray(read_image(file))[...,0]==grey).all()

@pytest.mark.parametrize('suffix', ['gif','tif'])
def test_a_damaged_second_picture_is_a_second_picture(tmp_path, suffix):
    file = tmp_path/f'film.{suffix}'
    photo().save(file, save_all=True, append_images=[photo(),photo()])
    content = file.read_bytes()
    for n in range(len(content)*2//5, len(content), len(content)//20):
        file.write_bytes(content[:n])
        assert _faults_of(file)==dict(rotated=False, animated=True, dark=False)

@pytest.mark.parametrize('code', [errno.ENOLCK,errno.EOPNOTSUPP,errno.ENAMETOOLONG,errno.EIO,errno.ESTALE], ids=errno.errorcode.get)
def test_a_cache_that_cannot_be_locked_or_used_is_named(pics, monkeypatch, code):
    def fails(file, *args): raise OSError(code, os.strerror(code), *([] if target=='fcntl.flock' else [str(file)]))
    target = 'fcntl.flock' if code in (errno.ENOLCK,errno.EOPNOTSUPP) else 'simpleattn.folders.FileLock'
    monkeypatch.setattr(target, fails)
    with pytest.raises(CliError, match=f'The cache .* cannot be written .{os.strerror(code)}'): get_path('pics', data=pics)

def test_images_that_cannot_be_read_now_are_not_laid_on_the_cache(pics, monkeypatch):
    "Reading fails without a name"
    def fails(*args): raise OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr('simpleattn.data.file_digest', fails)
    with pytest.raises(OSError) as e: DecodedImages(pics)
    assert 'cache' not in str(e.value)

@pytest.mark.parametrize('error,says', [(OSError(errno.ENOSPC, 'No space left on device'),'fastai/data/imagewoof2-160 cannot be written .No space left.*Make room'),
    (OSError('Name or service not known'),'could not be downloaded .OSError.*Without a network')])
@pytest.mark.parametrize('where', ['fetching','unpacking'])
def test_a_full_disk_is_no_missing_network(tmp_path, monkeypatch, error, says, where):
    monkeypatch.setattr('fastai.data.external.fastai_path', lambda what: tmp_path/'fastai'/what)
    def fails(*args): raise error
    monkeypatch.setattr('fastdownload.FastDownload.download', fails if where=='fetching' else lambda *args: tmp_path/'imagewoof2-160.tgz')
    monkeypatch.setattr(folders, 'unpack', fails)
    if where=='unpacking': (tmp_path/'imagewoof2-160.tgz').touch()
    with pytest.raises(CliError, match=says): get_path('imagewoof')
