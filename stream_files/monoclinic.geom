; simulated detector, seed 20242
photon_energy = /entry/photon_energy eV
clen = 0.0765 m
res = 6666.666667
adu_per_photon = 1
max_adu = 250
data = /entry/data/data
dim0 = %
dim2 = ss
dim3 = fs
mask = /entry/data/mask
mask_good = 0x0
mask_bad = 0x1

bad_beamstop/min_x = -18.4
bad_beamstop/max_x = 18.4
bad_beamstop/min_y = -18.4
bad_beamstop/max_y = 18.4

p0/dim1 = 0
p0/min_fs = 0
p0/max_fs = 251
p0/min_ss = 0
p0/max_ss = 123
p0/corner_x = -253.1653
p0/corner_y = -257.3442
p0/coffset = 0.000054900000
p0/fs = +0.999962496x -0.007569891y -0.004207526z
p0/ss = +0.007581074x +0.999967756y +0.002648291z

p1/dim1 = 1
p1/min_fs = 0
p1/max_fs = 251
p1/min_ss = 0
p1/max_ss = 123
p1/corner_x = 7.3794
p1/corner_y = -258.4606
p1/coffset = 0.000032070000
p1/fs = +0.999998755x +0.001282315y +0.000919549z
p1/ss = -0.001277408x +0.999985050y -0.005316805z

p2/dim1 = 2
p2/min_fs = 0
p2/max_fs = 251
p2/min_ss = 0
p2/max_ss = 123
p2/corner_x = -252.9909
p2/corner_y = -125.7036
p2/coffset = -0.000066555000
p2/fs = +0.999986954x -0.004725436y +0.001939700z
p2/ss = +0.004719184x +0.999983696y +0.003215103z

p3/dim1 = 3
p3/min_fs = 0
p3/max_fs = 251
p3/min_ss = 0
p3/max_ss = 123
p3/corner_x = 6.7900
p3/corner_y = -125.2503
p3/coffset = 0.000078195000
p3/fs = +0.999959829x -0.008313161y -0.003351441z
p3/ss = +0.008307846x +0.999964215y -0.001596686z

p4/dim1 = 4
p4/min_fs = 0
p4/max_fs = 251
p4/min_ss = 0
p4/max_ss = 123
p4/corner_x = -252.8151
p4/corner_y = 5.9393
p4/coffset = 0.000115935000
p4/fs = +0.999986487x -0.001896481y -0.004840460z
p4/ss = +0.001883767x +0.999994768y -0.002629716z

p5/dim1 = 5
p5/min_fs = 0
p5/max_fs = 251
p5/min_ss = 0
p5/max_ss = 123
p5/corner_x = 7.5559
p5/corner_y = 5.1845
p5/coffset = 0.000073020000
p5/fs = +0.999980775x +0.004095978y -0.004655284z
p5/ss = -0.004088529x +0.999990348y +0.001608500z

p6/dim1 = 6
p6/min_fs = 0
p6/max_fs = 251
p6/min_ss = 0
p6/max_ss = 123
p6/corner_x = -252.8925
p6/corner_y = 138.1060
p6/coffset = 0.000191505000
p6/fs = +0.999964777x -0.003214235y -0.007753338z
p6/ss = +0.003176804x +0.999983265y -0.004835125z

p7/dim1 = 7
p7/min_fs = 0
p7/max_fs = 251
p7/min_ss = 0
p7/max_ss = 123
p7/corner_x = 7.3286
p7/corner_y = 137.6548
p7/coffset = -0.000190185000
p7/fs = +0.999948351x +0.000358713y +0.010157097z
p7/ss = -0.000356791x +0.999999918y -0.000191057z
