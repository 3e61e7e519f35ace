package sqlite

import (
	"os"
	"strings"
	"syscall"
)

// networkTypes are the file systems, by the magic number in statfs(2), on which SQLite's locks and shared memory do not work.
var networkTypes = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB",
	0x01021997: "9p",
	0x00c36400: "Ceph",
	0x5346414f: "AFS",
	0x6b414653: "AFS",
	0x73757245: "Coda",
	0x0bd00bd0: "Lustre",
}

const fuse = 0x65735546

// networkFilesystem names the network file system that dir is on; "" when it is on none, or cannot be asked.
func networkFilesystem(dir string) string {
	var stat syscall.Statfs_t
	if syscall.Statfs(dir, &stat) != nil {
		return ""
	}
	if uint32(stat.Type) == fuse {
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		return networkFUSE(string(mounts), dir)
	}
	return networkTypes[uint32(stat.Type)]
}

// networkFUSE names the type of the FUSE mount that dir is on if it reaches over a network. mounts is as in proc(5),
// /proc/pid/mountinfo: the fifth field of a line is where, the first after " - " is what. The last mount at a place counts.
func networkFUSE(mounts, dir string) string {
	at, kind := "", ""
	for line := range strings.Lines(mounts) {
		left, right, _ := strings.Cut(line, " - ")
		fields, what := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(what) == 0 {
			continue
		}
		place := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(dir+"/", strings.TrimSuffix(place, "/")+"/") && len(place) >= len(at) {
			at, kind = place, what[0]
		}
	}
	for _, name := range []string{"sshfs", "rclone", "s3fs", "glusterfs", "ceph", "davfs", "gvfsd", "smbnetfs", "goofys", "seaweedfs", "juicefs"} {
		if strings.Contains(kind, name) {
			return kind
		}
	}
	return ""
}
