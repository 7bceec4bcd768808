"""Energy of inferences: meters that are read, a model where there is none, and how a meter's joules are shared out.

Every figure says where it comes from. *Measured*: a meter of the machine (RAPL, a hwmon sensor, NVML) was read.
*Modelled*: CPU time times a calibrated power. *Absent*: neither, and then no figure is given.
"""
