; simulated detector, seed 31
photon_energy = 9500.000000 eV
clen = 0.0765 m
res = 6666.666667
adu_per_photon = 1
max_adu = 250
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
mask = /entry/data/mask
mask_good = 0x0
mask_bad = 0x1

bad_beamstop/min_x = -18.4
bad_beamstop/max_x = 18.4
bad_beamstop/min_y = -18.4
bad_beamstop/max_y = 18.4

p0/min_fs = 0
p0/max_fs = 511
p0/min_ss = 0
p0/max_ss = 251
p0/corner_x = -252.7000
p0/corner_y = -254.3000
p0/fs = +1.000000000x +0.000000000y
p0/ss = +0.000000000x +1.000000000y

p1/min_fs = 0
p1/max_fs = 511
p1/min_ss = 252
p1/max_ss = 503
p1/corner_x = -252.7000
p1/corner_y = 5.7000
p1/fs = +1.000000000x +0.000000000y
p1/ss = +0.000000000x +1.000000000y
