"""Read, change and make machines' definitions: libvirt's XML as declared fields, without a host."""
