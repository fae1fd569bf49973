"""Command lines of qemu-img as operators and programs write them, each subcommand in every spelling: one trace each.

Where `scenarios` tells what happens, this tells what is said: help, options and names, mistakes and what comes first.
"""

from tests.parity.scenarios import images

IMAGES = [
    images(
        "img-help",
        "what it is asked for help and for its version, and what it takes for no command",
        r"""
        --help
        -h
        --version
        -V
        help
        create --help
        info --help
        snapshot -h
        --nosuch
        Info a
        """,
    ),
    images(
        "img-create-options",
        "-o: each option in every spelling, and which mistake is told first",
        r"""
        create -f qcow2 -o help
        create -f raw -o help
        create -f qcow2 -o ? a
        create -f qcow2 -o preallocation=metadata a 1M
        create -f qcow2 -o preallocation=falloc b 1M
        create -f qcow2 -o preallocation=full c 1M
        create -f qcow2 -o preallocation=bogus c 1M
        create -f raw -o preallocation=full r 1M
        create -f raw -o preallocation=off r2 1M
        create -f raw -o preallocation=falloc r3 1M
        create -f raw -o preallocation=metadata r4 1M
        create -f raw -o size=1M r5
        create -f qcow2 -o compression_type=zstd z 1M
        create -f qcow2 -o compression_type=bogus z 1M
        create -f qcow2 -o data_file_raw=on y 1M
        create -f qcow2 -o lazy_refcounts=on l 1M
        create -f qcow2 -o lazy_refcounts=maybe l 1M
        create -f qcow2 -o compat=v2 v 1M
        create -f qcow2 -o compat=v3 v 1M
        create -f qcow2 -o compat=2 v 1M
        create -f qcow2 -o compat= v 1M
        create -f qcow2 -o cluster_size=2M,refcount_bits=64 w 1M
        create -f qcow2 -o cluster_size=4M w 1M
        create -f qcow2 -o cluster_size=abc w 1M
        create -f qcow2 -o cluster_size=256 w 1M
        create -f qcow2 -o refcount_bits=abc w 1M
        create -f qcow2 -o refcount_bits=128 w 1M
        create -f qcow2 -o refcount_bits=-1 w 1M
        create -f qcow2 -o refcount_bits w 1M
        create -f qcow2 -o lazy_refcounts w 1M
        create -f qcow2 -o nolazy_refcounts w 1M
        create -f qcow2 -o size=2M w
        create -f qcow2 -o size=2M w 1M
        create -f qcow2 -o size=abc w
        create -f qcow2 -o size=-1 w
        create -f qcow2 -o '' w 1M
        create -f qcow2 -o , w 1M
        create -f qcow2 -o =1 w 1M
        create -f qcow2 -o compat=1.1 -o lazy_refcounts=on w 1M
        create -f qcow2 -o compat=0.10,lazy_refcounts=on w 1M
        create -f qcow2 -o backing_file=w,backing_fmt=qcow2 q
        create -f qcow2 -o backing_file=w q
        create -f qcow2 -o backing_fmt=qcow2 q 1M
        create -f qcow2 -o backing_file=a,,b q 1M
        info --output=json w
        info w
        """,
    ),
    images(
        "img-create-sizes",
        "sizes with units, parts and none, and how large an image may be",
        r"""
        create -f qcow2 a 1
        create -f qcow2 b 0
        create -f qcow2 c 1k
        create -f qcow2 c 1K
        create -f qcow2 c 1.5G
        create -f qcow2 c 1.5
        create -f qcow2 c 0x100000
        create -f qcow2 c 1e3
        create -f qcow2 c 1e6k
        create -f qcow2 c 10GB
        create -f qcow2 c 10GiB
        create -f qcow2 c ' 10G'
        create -f qcow2 c '10G '
        create -f qcow2 c ''
        create -f qcow2 c 1Z
        create -f qcow2 c 8E
        create -f qcow2 c 7E
        create -f qcow2 c 16E
        create -f qcow2 c 1P
        create -f qcow2 c 100P
        create -f qcow2 c 9223372036854775807
        create -f qcow2 c 9223372036854775808
        create -f qcow2 c 18446744073709551616
        create -f qcow2 c 0.5
        create -f qcow2 c .5M
        create -f qcow2 c 1M extra
        create -f raw d 8E
        create -f raw d 1000
        create -f raw d 1T
        create -f qcow2 c -1M
        create -f qcow2 -o cluster_size=512 c 1T
        create -f qcow2 -o cluster_size=512 c 100G
        create -f qcow2 -o cluster_size=2M c 1P
        info --output=json a
        info --output=json d
        info a
        info d
        """,
    ),
    images(
        "img-create-names",
        "names with colons, commas, spaces and dashes, and formats in every spelling",
        r"""
        create -f qcow2 'ü ñ' 1M
        info 'ü ñ'
        create -f qcow2 'a,b' 1M
        info 'a,b'
        create -f qcow2 'a:b' 1M
        create -f qcow2 './a:b' 1M
        info ./a:b
        create -f qcow2 file:xx 1M
        info file:xx
        create -f qcow2 json:xx 1M
        create -f qcow2 'json:{"driver":"qcow2","file.driver":"file","file.filename":"yy"}' 1M
        create -f qcow2 '' 1M
        create -f qcow2 . 1M
        create -f qcow2 sub/../k 1M
        create -f qcow2 /nonexistent/dir/x 1M
        create -f qcow2 -- -dash 1M
        info -- -dash
        create k2 1M
        info k2
        create -fqcow2 k3 1M
        create -f qcow2 -q k4 1M
        create -qf qcow2 k5 1M
        create --format=qcow2 k6 1M
        create -f k7 1M
        create -f
        create -f qcow2
        create -f qcow2 k8
        create -f qcow2 -b
        create -f Qcow2 k9 1M
        create -f '' k9 1M
        """,
    ),
    images(
        "img-create-backing",
        "backing files there and not there, named in two ways at once",
        r"""
        create -q -f qcow2 base 10M
        create -q -f raw rb 10M
        create -f qcow2 -b base -F qcow2 o1
        create -f qcow2 -b base -F qcow2 o2 20M
        create -f qcow2 -b base -F qcow2 o3 1M
        create -f qcow2 -b rb -F raw o4
        create -f qcow2 -b rb -F qcow2 o5
        create -f qcow2 -b rb o7
        create -f qcow2 -b base o7
        create -f qcow2 -b missing -F qcow2 o8 1M
        create -f qcow2 -b missing -F qcow2 -u o8 1M
        create -f qcow2 -b missing -u o9 1M
        create -f qcow2 -b '' o10 1M
        create -f qcow2 -b '' -F qcow2 o10 1M
        create -f qcow2 -F qcow2 o11 1M
        create -f qcow2 -b base -F bogus o12
        create -f qcow2 -b base -F bogus -u o12 1M
        create -f qcow2 -b sub -F qcow2 o13 1M
        create -f qcow2 -b ../base -F qcow2 sub/o14
        create -f qcow2 -b base -F qcow2 sub/o15
        create -f qcow2 -b /images/base -F qcow2 sub/o16
        create -f qcow2 -b nbd://127.0.0.1:9/x -F raw -u o18 1M
        info o18
        info --output=json o18
        info o19
        create -f qcow2 -b base -b rb -F raw o20
        create -f raw -b base o21
        create -f raw -b base -F qcow2 o21 1M
        create -f qcow2 -b base -F qcow2 -o compat=0.10 o22
        create -f qcow2 -b base -F qcow2 -o cluster_size=4k,lazy_refcounts=on o23
        create -f qcow2 -b o23 -F qcow2 o24
        info --backing-chain o24
        info --backing-chain --output=json o24
        create -f qcow2 -b base -F qcow2 base
        info base
        create -f qcow2 -B base o25
        create -f qcow2 -o backing_file=rb,backing_fmt=raw -b base -F qcow2 o26
        info o26
        create -f qcow2 -b base -F qcow2 -o preallocation=metadata o27
        """,
    ),
    images(
        "img-info-names",
        "files named by options, by JSON and by protocols",
        r"""
        create -q -f qcow2 a 1G
        create -q -f raw r 10M
        create -q -f qcow2 -b a -F qcow2 o
        info -f bogus a
        info --format qcow2 a
        info --outp json r
        info --output r
        info --output=JSON r
        info --output=human r
        info -U a
        info --force-share a
        info --backing a
        info --backing-chain -U o
        info --backing-chain --output=json o
        info -t none a
        info -T none a
        info a r
        info -q a
        info -p a
        info ''
        info .
        info sub
        info ./a
        info //images/a
        info sub/../a
        info --image-opts driver=qcow2,file.filename=a
        info --image-opts driver=qcow2,file.driver=file,file.filename=a
        info --image-opts driver=qcow2
        info --image-opts driver=raw,file.filename=r
        info --image-opts file.filename=r
        info --image-opts filename=r
        info --image-opts driver=bogus,file.filename=a
        info --image-opts driver=qcow2,file.filename=missing
        info --image-opts driver=qcow2,file.filename=a,bogus=1
        info --image-opts driver=qcow2,file.driver=file,file.filename=a,read-only=on
        info --image-opts driver=qcow2,file.driver=file,file.filename=a,force-share=on
        info --image-opts --output=json driver=qcow2,file.driver=file,file.filename=o
        info -f qcow2 --image-opts driver=qcow2,file.filename=a
        info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}'
        info 'json:{"driver":"qcow2","file.driver":"file","file.filename":"a"}'
        info 'json:{"file.filename":"a"}'
        info 'json:{"driver":"bogus"}'
        info 'json:[]'
        info --output=json 'json:{"driver":"qcow2","file":{"driver":"file","filename":"o"}}'
        info --object
        info a:b
        info ./missing:x
        """,
    ),
    images(
        "img-check",
        "check in every spelling",
        r"""
        create -q -f qcow2 a 1G
        create -q -f raw r 10M
        write a 0 131072
        check a
        check -f qcow2 a
        check -f raw r
        check r
        check --output=json a
        check --output=xml a
        check -q a
        check -r leaks a
        check -r all a
        check -r leaks --output=json a
        check -r bogus a
        check -r
        check -rleaks a
        check --repair=leaks a
        check --repair all a
        check -U a
        check -U -r leaks a
        check -T none a
        check -T bogus a
        check -p a
        check -t none a
        check missing
        check -f qcow2 missing
        check -f qcow2 r
        check -f bogus a
        check sub
        check
        check a r
        check --image-opts driver=qcow2,file.filename=a
        check 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}'
        """,
    ),
    images(
        "img-snapshot",
        "snapshot in every spelling",
        r"""
        create -q -f qcow2 a 1G
        create -q -f raw r 10M
        snapshot a
        snapshot -l a
        snapshot -c one a
        snapshot -c two a
        snapshot -l a
        snapshot -q -c three a
        snapshot -c
        snapshot -c four
        snapshot -c four a r
        snapshot -d one a
        snapshot -d one a
        snapshot -a two a
        snapshot -a nope a
        snapshot -d nope a
        snapshot -l missing
        snapshot -c x missing
        snapshot -a x missing
        snapshot -l r
        snapshot -l sub
        snapshot -c x sub
        snapshot -c x -d y a
        snapshot -l -l a
        snapshot -f qcow2 -l a
        snapshot --image-opts -l driver=qcow2,file.filename=a
        snapshot --image-opts -c ioc driver=qcow2,file.filename=a
        snapshot -l 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}'
        snapshot -U -l a
        snapshot -U -c x a
        snapshot --force-share -l a
        snapshot -l --output=json a
        snapshot -c 'with space' a
        snapshot -c 'tab	x' a
        snapshot -c 日本語 a
        snapshot -l a
        snapshot -p a
        snapshot -o x a
        info a
        info --output=json a
        """,
    ),
    images(
        "img-resize",
        "sizes to, by and beyond, with and without preallocation",
        r"""
        create -q -f qcow2 a 1G
        create -q -f raw r 10M
        create -q -f qcow2 -o compat=0.10 v2 1M
        create -q -f qcow2 -b a -F qcow2 o
        resize a 2G
        resize a +1G
        resize a -1G
        resize --shrink a -1G
        resize a 1G
        resize --shrink a 512M
        resize -q a +1M
        resize -f qcow2 a +1M
        resize r +10M
        resize -f raw r +10M
        resize -f raw r 5M
        resize -f raw --shrink r 5M
        resize r 30M
        resize a 0
        resize --shrink a 0
        resize a +0
        resize a -0
        resize a ''
        resize a 1.5G
        resize a +abc
        resize a 10X
        resize a 1
        resize a 8E
        resize a +8E
        resize a -100T
        resize --shrink a -100T
        resize a 7E
        resize
        resize a
        resize a 1G 2G
        resize 1G
        resize missing 1G
        resize sub 1G
        resize o 4G
        resize --shrink o 100M
        resize --preallocation=off a +1G
        resize --preallocation=metadata a +1M
        resize --preallocation=full a +1M
        resize --preallocation=falloc a +1M
        resize --preallocation=bogus a +1M
        resize --preallocation=full -f raw r +1M
        resize --preallocation=off --shrink a 1M
        resize --preallocation=metadata --shrink a 512k
        resize v2 2M
        resize --image-opts driver=qcow2,file.filename=a 3G
        resize -f bogus a 1G
        resize a --shrink 1M
        resize -U a 1G
        resize 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}' 5G
        info --output=json a
        info --output=json r
        """,
    ),
    images(
        "img-rebase",
        "rebase in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f qcow2 b 1M
        create -q -f raw r 1M
        create -q -f qcow2 -b a -F qcow2 o
        create -q -f qcow2 -b o -F qcow2 p
        write a 0 131072
        write o 65536 65536
        rebase -b b -F qcow2 o
        rebase -u -b a -F qcow2 o
        rebase -u -b a o
        rebase -b a o
        rebase -u -b '' o
        info o
        rebase -u -b a -F qcow2 o
        rebase -b '' o
        rebase -u -b a -F qcow2 o
        rebase -u o
        rebase -f qcow2 -u -b r -F raw o
        rebase -u -b nonexist -F qcow2 o
        rebase -b b -F qcow2 o
        rebase -u -b a -F qcow2 o
        rebase -u -b a -F bogus o
        rebase -b a -F bogus o
        rebase -t none -b b -F qcow2 o
        rebase -t bogus -b b -F qcow2 o
        rebase -T bogus -b b -F qcow2 o
        rebase -p -b a -F qcow2 o
        rebase -q -b b -F qcow2 o
        rebase -c -b a -F qcow2 o
        rebase -b a -F qcow2
        rebase -b a -F qcow2 o p
        rebase -b a -F qcow2 r
        rebase -b a -F qcow2 missing
        rebase -u -b a -F qcow2 missing
        rebase -b /images/a -F qcow2 o
        info o
        rebase -b ./a -F qcow2 o
        info o
        rebase -u -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}' -F qcow2 o
        info o
        info --output=json o
        rebase -u -b nbd://h/x -F raw o
        info o
        rebase -u -b a -F qcow2 o
        rebase -b p -F qcow2 o
        rebase --image-opts -u -b a -F qcow2 driver=qcow2,file.filename=o
        info --backing-chain p
        """,
    ),
    images(
        "img-commit",
        "commit in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 -b a -F qcow2 o
        create -q -f qcow2 -b o -F qcow2 p
        create -q -f qcow2 -b r -F raw q
        write o 65536 65536
        write p 0 65536
        write q 0 65536
        commit a
        commit p
        commit -b a p
        commit -d p
        commit -b missing p
        commit -b p p
        commit -b /images/a p
        commit -b ./a p
        commit -f qcow2 -t none p
        commit -t bogus p
        commit -p p
        commit -q p
        commit -f bogus p
        commit q
        commit missing
        commit r
        commit sub
        commit
        commit p q
        commit -U p
        commit -r 1M p
        commit -r abc p
        commit -r 0 p
        commit -b
        commit --image-opts driver=qcow2,file.filename=p
        map --output=json a
        check a
        """,
    ),
    images(
        "img-convert",
        "copies with options, over a backing file and into an image that is there",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 -b a -F qcow2 o
        write a 0 131072
        write o 262144 65536
        write r 0 65536
        snapshot -c s1 a
        convert a out1
        info out1
        convert -O qcow2 a out2
        convert -f qcow2 -O raw a out3
        convert -p -O qcow2 a out5
        convert -O qcow2 -o compat=0.10 a out6
        info out6
        convert -O qcow2 -o cluster_size=4k,lazy_refcounts=on a out7
        info out7
        convert -O qcow2 -o help
        convert -O qcow2 -o preallocation=metadata a out8
        convert -O qcow2 -o preallocation=full a out9
        convert -O qcow2 -S 4k a out10
        convert -S 0 -O qcow2 a out11
        convert -S abc -O qcow2 a out12
        convert -S 100 -O qcow2 a out12
        convert -O qcow2 -B a o out13
        convert -O qcow2 -B a -F qcow2 o out13
        convert -O qcow2 -o backing_file=a,backing_fmt=qcow2 o out14
        info out14
        convert -O qcow2 -o backing_file=a o out15
        convert -n -O qcow2 a out2
        convert -n -O qcow2 a missing
        convert -n -O qcow2 -o compat=1.1 a out2
        convert -l s1 -O qcow2 a out16
        convert -l snapshot.name=s1 -O qcow2 a out16
        convert -l snapshot.id=1,snapshot.name=s1 -O qcow2 a out16
        convert -l nosuch -O qcow2 a out17
        convert -s s1 -O qcow2 a out17
        info out18
        convert -O qcow2 missing out19
        convert -f raw -O qcow2 r out20
        convert -f qcow2 -O qcow2 r out20
        convert -O bogus r out20
        convert -t none -T none -O qcow2 a out22
        convert -t bogus -O qcow2 a out22
        convert -T bogus -O qcow2 a out22
        convert -m 4 -O qcow2 a out23
        convert -m 100 -O qcow2 a out23
        convert -m 0 -O qcow2 a out23
        convert -W -O qcow2 a out24
        convert -W -m 4 -O qcow2 a out24
        convert -U -O qcow2 a out25
        convert -C -O qcow2 a out26
        convert -C -S 0 -O qcow2 a out26
        convert -q -O qcow2 a out27
        convert -r 1M -O qcow2 a out28
        convert --salvage -O qcow2 a out29
        convert --target-is-zero -O qcow2 a out30
        convert --target-is-zero -n -O qcow2 a out2
        convert --bitmaps -O qcow2 a out31
        convert --bitmaps --skip-broken-bitmaps -O qcow2 a out31
        convert --skip-broken-bitmaps -O qcow2 a out31
        convert -O qcow2 a
        convert -O qcow2
        convert
        convert -O qcow2 a a
        convert -O qcow2 a /nodir/x
        convert -O qcow2 a sub
        convert --image-opts driver=qcow2,file.filename=a out32
        convert --image-opts -O qcow2 driver=qcow2,file.filename=a out33
        convert --target-image-opts a driver=qcow2,file.filename=out2
        convert 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a"}}' -O qcow2 out34
        convert -c -O raw a out37
        convert -O qcow2 -o bogus=1 a out39
        convert -O qcow2 -o size=2M a out40
        info out40
        compare a out2
        compare a out1
        compare a out3
        check out2
        """,
    ),
    images(
        "img-compare",
        "compare in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 b 2M
        create -q -f qcow2 c 1M
        create -q -f raw g 2M
        write c 65536 512
        compare a r
        compare a b
        compare a c
        compare -s a b
        compare -f qcow2 -F raw a r
        compare -f raw -F qcow2 r a
        compare -f raw -F raw r g
        compare -p a c
        compare -q a c
        compare -q a b
        compare -T none a c
        compare -T bogus a c
        compare -t none a c
        compare a missing
        compare missing a
        compare missing missing2
        compare a
        compare
        compare a b c
        compare -f bogus a c
        compare -F bogus a c
        compare -U a c
        compare a sub
        compare --image-opts driver=qcow2,file.filename=a driver=qcow2,file.filename=c
        compare --output=json a c
        """,
    ),
    images(
        "img-measure",
        "what a copy with these options would take",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 -b a -F qcow2 o
        write a 0 131072
        snapshot -c s a
        measure a
        measure -O qcow2 a
        measure -O raw a
        measure -f qcow2 -O qcow2 a
        measure --output=json -O qcow2 a
        measure --output=json -O raw r
        measure --size 10G
        measure --size 10G -O qcow2
        measure --size 10G -O qcow2 --output=json
        measure --size 10G -O qcow2 -o cluster_size=4k
        measure --size 10G -O qcow2 -o cluster_size=2M,refcount_bits=64
        measure --size 10G -O qcow2 -o preallocation=full
        measure --size 10G -O qcow2 -o bogus=1
        measure --size 10G -O qcow2 -o help
        measure --size abc
        measure --size -1
        measure --size 0 -O qcow2
        measure --size 1000 -O qcow2
        measure --size 1M a
        measure --size 1M -f qcow2
        measure -l s -O qcow2 a
        measure -l nosuch -O qcow2 a
        measure -l snapshot.name=s -O qcow2 a
        measure -O vmdk a
        measure -O vdi --size 1M
        measure -O bogus a
        measure missing
        measure
        measure a r
        measure -O qcow2 o
        measure -U -O qcow2 a
        measure --image-opts driver=qcow2,file.filename=a
        measure -q a
        measure --output=xml a
        """,
    ),
    images(
        "img-map",
        "map in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 -b a -F qcow2 o
        write a 0 131072
        write o 262144 65536
        map a
        map --output=json a
        map --output=human o
        map --output=json o
        map -f qcow2 a
        map -s 64k a
        map -l 64k a
        map --start-offset=64k --max-length=64k --output=json a
        map -s 10M a
        map -s abc a
        map -s -1 a
        map -l 0 a
        map -f bogus a
        map missing
        map
        map a r
        map --output=xml a
        map -U a
        map --image-opts driver=qcow2,file.filename=a
        map -q a
        map sub
        """,
    ),
    images(
        "img-amend",
        "amend in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 -o compat=0.10 v2 1M
        create -q -f qcow2 -b a -F qcow2 o
        amend
        amend a
        amend -o compat=0.10 a
        amend -o compat=1.1 a
        amend -o compat=v3 a
        amend -o help a
        amend -f qcow2 -o help
        amend -f raw -o help
        amend -o '' a
        amend -o lazy_refcounts=on a
        amend -o lazy_refcounts a
        amend -o size=2M a
        amend -o size=1M a
        amend -o bogus=1 a
        amend -o cluster_size=4k a
        amend -o preallocation=full a
        amend -o backing_file=a o
        amend -o backing_file=r,backing_fmt=raw o
        amend -o refcount_bits=64 a
        amend -o data_file=x a
        amend -o data_file_raw=on a
        amend -o encryption=on a
        amend -o extended_l2=on a
        amend -o compression_type=zstd a
        amend -o size=1M r
        amend -f qcow2 -o compat=0.10 missing
        amend -o compat=1.1 v2
        amend --force -o compat=0.10 a
        amend -p -o compat=1.1 a
        amend -q -o compat=0.10 a
        amend -t none -o compat=1.1 a
        amend -t bogus -o compat=1.1 a
        amend -o compat=1.1 a r
        amend --image-opts -o compat=0.10 driver=qcow2,file.filename=a
        info a
        """,
    ),
    images(
        "img-bitmap",
        "bitmap in every spelling",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 b 1M
        bitmap --add a b1
        bitmap --add --disable a b2
        bitmap --add -g 64k a b3
        bitmap --add --granularity=128k a b4
        bitmap --add a b1
        bitmap --add -g 3k a b5
        bitmap --remove a b1
        bitmap --remove a nosuch
        bitmap --clear a b2
        bitmap --enable a b2
        bitmap --disable a b2
        bitmap --merge b3 a b2
        bitmap --merge nosuch a b2
        bitmap --add --merge b3 a b6
        bitmap a b2
        bitmap --add a
        bitmap --add
        bitmap --add r b
        bitmap --add missing b
        bitmap -f qcow2 --add a b7
        bitmap -f bogus --add a b8
        bitmap --add --image-opts driver=qcow2,file.filename=a b9
        bitmap -b b -F qcow2 --merge x a b2
        bitmap --add --remove a b11
        info a
        info --output=json a
        """,
    ),
    images(
        "img-second-version",
        "an image of version 2 and its upgrade",
        r"""
        create -q -f qcow2 -o compat=0.10 a 1M
        snapshot -c s a
        resize a 2M
        write a 0 65536
        snapshot -l a
        snapshot -a s a
        check a
        map --output=json a
        info --output=json a
        amend -o compat=1.1 a
        resize a 2M
        snapshot -c t a
        info a
        """,
    ),
    images(
        "img-convert-several",
        "several images into one",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -q -f qcow2 odd 100000
        create -q -f qcow2 -b a -F qcow2 o
        write a 0 65536
        write a 524288 65536
        convert -O qcow2 a r two
        info two
        map --output=json two
        convert -f qcow2 -O qcow2 a r x
        convert -O raw a r odd rawtwo
        info rawtwo
        convert -O qcow2 a o three
        convert -O qcow2 -B a -F qcow2 a r y
        snapshot -c s a
        convert -l s -O qcow2 a r z
        convert --bitmaps -O qcow2 a a z
        convert -O qcow2 a gone z
        convert -O qcow2 gone a z
        convert -O qcow2 a r a
        convert -n -O qcow2 a r a
        convert -n -O qcow2 a r two
        convert -n -O qcow2 a r odd two
        convert -p -O qcow2 a r w
        convert -O qcow2 -o size=5M a r sz
        info sz
        convert -W -O qcow2 a r v
        convert -C -O raw a r v2
        compare two v
        compare two w
        check two
        """,
    ),
    images(
        "img-convert-targets",
        "a target that is described by options",
        r"""
        create -q -f qcow2 a 1M
        create -q -f qcow2 t 1M
        create -q -f raw r 1M
        write a 0 65536
        convert --target-image-opts -n a driver=qcow2,file.filename=t
        compare a t
        convert --target-image-opts -n -O qcow2 a driver=qcow2,file.filename=t
        convert --target-image-opts -n a file.filename=t
        convert --target-image-opts -n a driver=raw,file.filename=r
        compare a r
        convert --target-image-opts -n a driver=qcow2,file.filename=gone
        convert --target-image-opts -n a gone
        convert --target-image-opts -n a driver=bogus
        convert --target-image-opts a driver=qcow2,file.filename=t
        convert --target-image-opts -n --target-is-zero -p a driver=qcow2,file.filename=t
        convert --image-opts --target-image-opts -n driver=qcow2,file.filename=a driver=qcow2,file.filename=t
        convert --image-opts -O qcow2 driver=qcow2,file.filename=a new
        info new
        """,
    ),
    images(
        "img-convert-compressed",
        "compressed clusters, and what becomes of them",
        r"""
        create -q -f qcow2 a 1M
        write a 0 131072
        write a 524288 65536
        convert -c -O qcow2 a c
        info c
        check c
        check --output=json c
        map c
        map --output=json c
        compare a c
        write c 0 4096
        check c
        map --output=json c
        snapshot -c s c
        check c
        convert -c -O raw a x
        convert -c -O qcow2 -o compression_type=zstd a z
        info --output=json z
        check z
        measure -O qcow2 c
        create -q -f qcow2 -b c -F qcow2 o
        map --output=json o
        map o
        rebase -b a -F qcow2 o
        check o
        convert -c -n -O qcow2 a z
        check z
        resize c +1M
        check c
        convert -c -S 0 -O qcow2 a s0
        check s0
        convert -c -O qcow2 -o cluster_size=4k a small
        check small
        convert -c -O qcow2 -B a -F qcow2 a ob
        check ob
        commit o
        """,
    ),
    images(
        "img-map-raw",
        "raw images and what is in them, alone and below others",
        r"""
        create -q -f raw r 1M
        map r
        map --output=json r
        write r 65536 65536
        map --output=json r
        map r
        write r 4096 8192
        map --output=json r
        map -f raw --output=json r
        map --start-offset=4096 --max-length=70000 --output=json r
        create -q -f qcow2 -b r -F raw o
        map --output=json o
        map o
        write o 0 65536
        map --output=json o
        create -q -f raw odd 100000
        map --output=json odd
        create -q -f raw -o preallocation=full p 1M
        map --output=json p
        convert -O raw r rr
        map --output=json rr
        convert -O raw -S 0 r rs
        map --output=json rs
        resize -f raw r +1M
        map --output=json r
        convert -O raw o ro
        map --output=json ro
        create -q -f qcow2 big 2M
        write big 0 65536
        commit o
        map --output=json r
        """,
    ),
    images(
        "img-backing-names",
        "backing files named by a protocol and by options",
        r"""
        create -q -f qcow2 a 1M
        create -q -f raw r 1M
        create -f qcow2 -b file:/images/a -F qcow2 o6
        info o6
        info --output=json o6
        info --backing-chain o6
        create -f qcow2 -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/images/a"}}' -F qcow2 o7
        info o7
        info --output=json --backing-chain o7
        create -f qcow2 -b 'json:{"driver":"qcow2","file.filename":"/images/a"}' -F qcow2 o8
        info --backing-chain o8
        map o7
        check o8
        create -f qcow2 -b file:/images/gone -F qcow2 o9
        create -f qcow2 -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/images/gone"}}' -F qcow2 o9
        create -f qcow2 -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/images/a"}}' o3
        create -f qcow2 -b nbd://127.0.0.1:9/x -F raw -u o4 1M
        info o4
        info o4
        rebase -u -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/images/a"}}' -F qcow2 o4
        info o4
        map --output=json o4
        write o4 0 65536
        commit o4
        rebase -b a -F qcow2 o4
        info o4
        create -f qcow2 -b bogus:a -F qcow2 o5 1M
        info o4
        """,
    ),
    images(
        "img-of-a-manager",
        "what a manager of virtual machines asks of a chain, as oVirt spells it",
        r"""
        create -f qcow2 -o compat=1.1 v 1G
        create -f raw -o preallocation=off rr 1M
        measure --output json -O qcow2 v
        measure --output json -f qcow2 -O qcow2 v
        measure --size 10G --output json -O qcow2
        measure --size 10G -O raw
        measure -O qcow2 -o compat=1.1 --output=json --size 1T
        measure -O qcow2 -o cluster_size=4k --size 1G
        measure --output json -f raw -O qcow2 rr
        info --output json v
        info --output json -U v
        info --output json -f qcow2 v
        info --output json --backing-chain -U v
        check --output json -f qcow2 v
        create -f qcow2 -u -b v -F qcow2 -o compat=1.1 leaf 1G
        create -f qcow2 -b v -F qcow2 -o compat=1.1 leaf2
        info --output json --backing-chain leaf2
        bitmap --add --enable leaf2 b1
        bitmap --add -g 131072 leaf2 b2
        bitmap --disable leaf2 b1
        info --output json leaf2
        measure --output json -O qcow2 leaf2
        bitmap --add v b1
        bitmap --merge b1 -F qcow2 -b v leaf2 b1
        bitmap --merge b1 -b v -F qcow2 leaf2 nope
        bitmap --remove leaf2 b2
        bitmap --clear leaf2 b1
        write leaf2 0 131072
        commit -t none -b v -f qcow2 leaf2
        commit -d -p -b v leaf2
        rebase -u -b v -f qcow2 -F qcow2 leaf
        rebase -t none -T none -b v -f qcow2 -F qcow2 leaf
        convert -p -t none -T none -f qcow2 -O qcow2 -o compat=1.1 v copy
        convert -p -t none -T none -f qcow2 leaf2 -O raw copy.raw
        convert -t none -T none -f qcow2 -O qcow2 -W v copy3
        convert -n -t none -T none -f raw -O raw copy.raw copy.raw
        resize -f qcow2 v 2G
        resize -f qcow2 v 1G
        resize -f qcow2 --shrink v 1G
        amend -f qcow2 -o compat=1.1 v
        """,
    ),
    images(
        "img-of-a-host",
        "what a host makes of its guests' disks, as Proxmox spells it",
        r"""
        create -f qcow2 vm-100-disk-0.qcow2 4G
        create -f qcow2 -o preallocation=metadata vm-100-disk-1.qcow2 16M
        create -q -f raw vm-100-disk-2.raw 16M
        info --output=json vm-100-disk-0.qcow2
        snapshot -c snap1 vm-100-disk-0.qcow2
        snapshot -c vzdump vm-100-disk-0.qcow2
        snapshot -l vm-100-disk-0.qcow2
        snapshot -a snap1 vm-100-disk-0.qcow2
        snapshot -d vzdump vm-100-disk-0.qcow2
        snapshot -d vzdump vm-100-disk-0.qcow2
        snapshot -a vzdump vm-100-disk-0.qcow2
        snapshot -c snap1 vm-100-disk-2.raw
        convert -p -n -f qcow2 -O raw vm-100-disk-1.qcow2 vm-100-disk-2.raw
        convert -p -n -T none -f raw -O qcow2 vm-100-disk-2.raw vm-100-disk-1.qcow2
        convert -p -l snap1 -f qcow2 -O raw vm-100-disk-0.qcow2 out.raw
        convert -p -l snapshot.name=snap1 -f qcow2 -O qcow2 vm-100-disk-0.qcow2 out.qcow2
        convert -l nosnap -O qcow2 vm-100-disk-0.qcow2 out2.qcow2
        resize vm-100-disk-2.raw +1M
        resize vm-100-disk-1.qcow2 +16M
        info vm-100-disk-1.qcow2
        check vm-100-disk-1.qcow2
        map --output=json vm-100-disk-1.qcow2
        create -f qcow2 -F qcow2 -b vm-100-disk-0.qcow2 vm-101-disk-0.qcow2
        create -f qcow2 -F raw -b vm-100-disk-2.raw vm-101-disk-1.qcow2
        rebase -b vm-100-disk-0.qcow2 -F qcow2 vm-101-disk-1.qcow2
        rebase -b '' vm-101-disk-0.qcow2
        info vm-101-disk-0.qcow2
        """,
    ),
    images(
        "img-of-an-operator",
        "a day of an operator's: points, merges, copies and what they leave",
        r"""
        create -q -f qcow2 a 10M
        write a 0 1048576
        snapshot -c before a
        write a 1048576 65536
        create -q -f qcow2 -b a -F qcow2 o1
        write o1 65536 65536
        create -q -f qcow2 -b o1 -F qcow2 o2
        write o2 2097152 65536
        info --backing-chain --output=json o2
        map o2
        map --output=json o2
        check o2
        commit -b a o2
        info o2
        commit o1
        rebase -f qcow2 -b a -F qcow2 -p o2
        rebase -u -b '' o2
        info o2
        map --output=json o2
        convert -O qcow2 -S 0 o2 full
        check full
        compare -p o2 full
        compare -f qcow2 -F qcow2 o2 full
        compare a o2
        snapshot -a before a
        compare a o2
        convert -l before -O qcow2 a at
        compare at a
        bitmap --add a b0
        snapshot -c two a
        snapshot -l a
        snapshot -d before a
        snapshot -l a
        info --output=json a
        amend -o lazy_refcounts=on a
        info a
        amend -o lazy_refcounts=off,refcount_bits=16 a
        resize a 20M
        resize --shrink a 5M
        snapshot -l a
        snapshot -a two a
        info a
        bitmap --remove a b0
        resize --shrink a 5M
        snapshot -d two a
        resize --shrink a 5M
        check a
        check -r all a
        check -r leaks a
        measure -O raw a
        measure -O qcow2 -l two a
        create -f qcow2 -o cluster_size=2M,lazy_refcounts=on,refcount_bits=1 c 1G
        info c
        snapshot -c x c
        write c 0 65536
        snapshot -c y c
        check c
        convert -O raw full full.raw
        convert -f raw -O qcow2 full.raw back
        compare full back
        convert -f raw -O qcow2 -o preallocation=metadata full.raw pre
        check pre
        convert -f raw -O qcow2 -o preallocation=full full.raw pre2
        convert -c -f raw -O qcow2 full.raw comp
        check comp
        compare comp back
        create -q -f qcow2 -b comp -F qcow2 oc
        write oc 0 4096
        commit oc
        check comp
        map --output=json comp
        info --output=json comp
        convert -O qcow2 comp again
        check again
        snapshot -c s1 comp
        write comp 0 65536
        check comp
        snapshot -a s1 comp
        check comp
        snapshot -d s1 comp
        check comp
        amend -o compat=0.10 comp
        info comp
        rebase -u -b gone -F qcow2 comp
        check comp
        map comp
        info comp
        convert -n -O qcow2 full full.raw
        convert -n -O raw full full.raw
        convert -O qcow2 -n full nofile
        convert -O qcow2 --target-is-zero -n full back
        """,
    ),
    images(
        "img-zeros",
        "clusters that are marked as zeros, which no check counts",
        r"""
        create -q -f qcow2 a 1M
        write a 0 65536
        convert -O qcow2 -B a -F qcow2 a ob2
        check ob2
        map --output=json ob2
        convert -O qcow2 -c -B a -F qcow2 a ob3
        map --output=json ob3
        create -q -f qcow2 -b a -F qcow2 o
        create -q -f qcow2 e 1M
        rebase -b e -F qcow2 o
        check o
        create -q -f qcow2 -b a -F qcow2 g 2M
        commit g
        check a
        create -q -f qcow2 -o compat=0.10 v2 1M
        convert -n -O qcow2 e v2
        check v2
        convert -S 0 -O qcow2 e full
        check full
        resize full 2M
        check full
        convert -n -O qcow2 e full
        check full
        convert -n -O qcow2 a ob2
        create -f qcow2 -b bogus:a -F qcow2 o5 1M
        """,
    ),
    images(
        "img-words",
        "options that are on or off in every word, and -q and -U where they mean something else",
        r"""
        create -q -f qcow2 a 1M
        create -q -f qcow2 b 1M
        create -q -f qcow2 -F qcow2 -b a o
        write a 0 65536
        write b 65536 65536
        rebase -U -b b -F qcow2 o
        rebase --force-share -b a -F qcow2 o
        rebase -U -u -b b -F qcow2 o
        rebase -U -b "" o
        info o
        bitmap -U --add a x
        bitmap --force-share --add a x
        amend -U -o compat=0.10 a
        commit -U o
        resize -U a 2M
        map -U --output=json a
        measure --force-share a
        compare --force-share a b
        create -U -f qcow2 q 1M
        create -f qcow2 -o lazy_refcounts=yes l1 1M
        create -f qcow2 -o lazy_refcounts=true l1 1M
        create -f qcow2 -o lazy_refcounts=y l1 1M
        create -f qcow2 -o lazy_refcounts=no l1 1M
        create -f qcow2 -o lazy_refcounts=false l1 1M
        create -f qcow2 -o lazy_refcounts=n l1 1M
        create -f qcow2 -o extended_l2=no l1 1M
        create -f qcow2 -o encryption=no l1 1M
        create -f qcow2 -o extended_l2=false,lazy_refcounts=on,compat=v3 l1 1M
        create -f qcow2 -o compat=v3 l1 1M
        create -f qcow2 -o cluster_size=64k l1 1M
        create -f qcow2 -o cluster_size=0x10000 l1 1M
        create -f qcow2 -o cluster_size=65536B l1 1M
        create -f qcow2 -o refcount_bits=0x10 l1 1M
        create -f qcow2 -o refcount_bits=16k l1 1M
        create -f qcow2 -o refcount_bits=-1 l1 1M
        create -f qcow2 -o size=1024k l1
        create -f qcow2 -o preallocation=off l1 1M
        create -f raw -o preallocation=off l1 1M
        create -f raw -o extent_size_hint=1M l1 1M
        create -f raw -o nocow=on l1 1M
        create -f raw -o nocow=off l1 1M
        create -f qcow2 -o nocow=off l1 1M
        create -f qcow2 -o extent_size_hint=0 l1 1M
        convert -O qcow2 -o lazy_refcounts=yes a l2
        amend -o lazy_refcounts=yes a
        amend -o lazy_refcounts=n a
        check -q --output=json a
        check --output=json -q b
        check -q b
        """,
    ),
    images(
        "img-objects",
        "--object, which says nothing to an image that is not encrypted",
        r"""
        create -q -f qcow2 a 1M
        create --object secret,id=s0,data=abc -f qcow2 q5 1M
        create --object secret,id=s0 -f qcow2 q5 1M
        create --object secret -f qcow2 q5 1M
        create --object= -f qcow2 q5 1M
        info --object secret,id=s0,data=abc,x=1 a
        info --object secret,data=abc,x=1 a
        info --object secret,id=a,data=b --object secret,id=a,data=b a
        info --object secret,id=a,data=b --object secret,id=b,data=b a
        info --object qom-type=secret,id=a,data=b a
        info --object secret,id=a,data=b,,c a
        info --object secret,id=,data=b a
        info --object secret,id=1,data=b a
        compare --object secret a a
        check --object secret a
        map --object secret,id=s a
        snapshot --object secret,id=x,data=1 -l a
        measure --object secret,id=x,data=1 a
        commit --object secret a
        rebase --object secret a
        resize --object secret,id=x,data=1 a 2M
        bitmap --object secret,id=x,data=1 --add a b
        amend --object secret,id=x,data=1 -o compat=1.1 a
        convert --object secret,id=x,data=1 a b
        create -f qcow2 -o encryption=yes l1 1M
        create -f qcow2 -o encryption=off l1 1M
        create -f qcow2 -o noencryption l1 1M
        create -f qcow2 -o encryption=false,compat=7 l1 1M
        convert -O qcow2 -o encryption=no a l2
        measure -O qcow2 -o encryption=no a
        """,
    ),
    images(
        "img-extended-l2",
        "extended L2 entries: parts of clusters, each allocated alone, alone and over another image",
        r"""
        create -f qcow2 -o extended_l2=on a 1M
        create -f qcow2 -o extended_l2 x 1M
        create -f qcow2 -o extended_l2=maybe x 1M
        create -f qcow2 -o extended_l2=on,cluster_size=8k x 1M
        create -f qcow2 -o extended_l2=on,compat=0.10 x 1M
        create -f raw -o extended_l2=on x 1M
        create -q -f qcow2 -o extended_l2=on,cluster_size=16k x 64T
        create -q -f qcow2 -o extended_l2=on,cluster_size=16k x 65T
        create -q -f qcow2 -o extended_l2=on,cluster_size=16k b 64G
        resize b 65T
        info a
        info --output=json a
        measure -O qcow2 -o extended_l2=on,cluster_size=16k --size 1G
        measure -O qcow2 -o extended_l2=on --size 1T
        measure -O qcow2 -o extended_l2=off --size 1T
        measure -O qcow2 -o extended_l2=on,cluster_size=4k --size 1G
        measure -O qcow2 -o extended_l2=on,cluster_size=16k --size 65T
        amend -o extended_l2=off a
        amend -o compat=0.10 a
        write a 4096 1024
        map --output=json a
        map a
        check a
        check --output=json a
        measure -O qcow2 -o extended_l2=on a
        snapshot -c one a
        check a
        write a 20480 2048
        map --output=json a
        write a 16384 512
        write a 61440 512
        map --output=json a
        check a
        snapshot -c two a
        write a 0 512
        write a 262144 65536
        map --output=json a
        snapshot -a one a
        map --output=json a
        snapshot -a two a
        snapshot -d one a
        check a
        create -f qcow2 -b a -F qcow2 -o extended_l2=on o
        write o 6144 1024
        write o 131072 512
        map --output=json o
        map o
        check o
        info --backing-chain o
        convert -O qcow2 -o extended_l2=on o c
        compare o c
        check c
        convert -O qcow2 -o extended_l2=on -S 0 o full
        map --output=json full
        check full
        convert -O qcow2 -B a -F qcow2 -o extended_l2=on o oo
        map --output=json oo
        convert -O qcow2 -B a -F qcow2 o os
        map --output=json os
        compare o os
        create -q -f qcow2 -o extended_l2=on s 100k
        create -q -f qcow2 -b a -F qcow2 -o extended_l2=on g 100k
        resize g 1M
        map --output=json g
        resize --shrink a 21k
        map --output=json a
        check a
        resize a 1M
        map --output=json a
        create -q -f qcow2 e 1M
        create -q -f qcow2 -b e -F qcow2 -o extended_l2=on er
        rebase -b o -F qcow2 er
        compare er e
        write oo 100352 2048
        commit -d oo
        compare a oo
        amend -o lazy_refcounts=on,size=2M s
        snapshot -c s s
        resize s 1M
        amend -o compat=0.10 s
        amend -o refcount_bits=8 s
        amend -o compat=0.10 s
        bitmap --add s b
        info s
        create -q -f qcow2 -o extended_l2=on,refcount_bits=1 n 1M
        write n 8192 2048
        snapshot -c s n
        check n
        check -r leaks n
        """,
    ),
    images(
        "img-dd",
        "dd, which counts from the begin of its input, and makes what it copies to anew",
        r"""
        create -q -f qcow2 a 1M
        write a 65536 1024
        create -q -f qcow2 -b a -F qcow2 o
        write o 66048 512
        create -q -f raw r 10k
        write r 1024 512
        dd
        dd if=a
        dd of=b
        dd foo if=a of=b
        dd conv=x if=a of=b
        dd seek=1 if=a of=b
        dd if=a of=b bs=0
        dd if=a of=b bs=x
        dd if=a of=b bs=
        dd if=a of=b bs=-1
        dd if=a of=b bs=1k,2
        dd if=a of=b bs=2G
        dd bs=x if=a of=b
        dd if=a of=b count=x
        dd if=a of=b count=1.5
        dd if=a of=b count=-1
        dd if=a of=b count=16E
        dd if=a of=b skip=x
        dd if=a of=b skip=16777216E
        dd bs=x foo
        dd if=a of=b
        info b
        compare -F raw a b
        dd if=a of=b bs=2147483647
        compare -F raw a b
        dd -f qcow2 -O qcow2 if=o of=c
        info c
        compare o c
        check c
        dd -f qcow2 -O qcow2 if=o of=c
        dd -O qcow2 bs=1k count=66 if=o of=d
        info d
        compare d o
        check d
        dd -O qcow2 bs=1k count=66 skip=64 if=o of=d
        info d
        map d
        dd -O qcow2 bs=1k count=66 skip=65 if=a of=d
        info d
        dd -O qcow2 bs=1k count=66 skip=70 if=a of=d
        info d
        dd -O qcow2 skip=2048 if=a of=d
        info d
        dd skip=4096 if=a of=d
        info d
        dd skip=7E if=a of=d
        dd bs=1M count=7E if=a of=d
        dd count=0 if=a of=d
        info d
        dd -O qcow2 bs=3 count=5 skip=1 if=a of=d
        info d
        dd bs=1000 count=66 skip=65 if=a of=d
        info d
        dd -O qcow2 bs=1.5k if=a of=d
        dd bs=0x200 if=a of=d
        compare a d
        dd -f raw -O qcow2 if=r of=d
        compare -f raw -F qcow2 r d
        dd if=a if=r of=d
        info d
        dd if=a of=d -O qcow2
        dd -- if=a of=d
        dd if=gone of=d
        dd -f qcow2 if=gone of=d
        dd -f qcow2 if=r of=d
        dd -f bogus if=a of=d
        dd -f '' if=a of=d
        dd -O bogus if=a of=d
        dd -O '' if=a of=d
        dd -O bogus if=gone of=d
        dd if=a of=a
        dd if=o of=a
        dd if=a of=gone/d
        dd if=a of=foo:x
        dd if=a of=json:x
        dd if=a of=file:d
        dd if=a of=
        dd if= of=d
        dd if=a of=.
        dd if=a=b of=d
        dd -n if=a of=d
        dd -q if=a of=d
        dd --foo if=a of=d
        dd -f
        dd -U -f qcow2 if=a of=d
        dd --force-share if=a of=d
        dd --image-opts if=driver=qcow2,file.filename=a of=d
        dd --image-opts -f qcow2 if=driver=qcow2,file.filename=a of=d
        dd --object secret,id=s,data=x if=a of=d
        dd --object secret if=a of=d
        dd -h
        """,
    ),
]
