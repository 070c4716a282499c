# --- custom data -----------------------------------------------------------------------------------

# Removes cloud-init's and the Azure agent's copies of this script, which contains the database password. bash
# keeps its own copy open. The ovf-env.xml file stays, because both need it after a reboot. `$0` tells whether
# cloud-init runs the script: on any other machine, these files belong to somebody else.
remove_custom_data() {
    [[ $0 == */var/lib/cloud/*/scripts/* ]] || return 0
    local root=${0%%/var/lib/cloud/*}
    local ovf=$root/var/lib/waagent/ovf-env.xml
    rm -f "$root"/var/lib/cloud/instances/*/{user-data.txt*,obj.pkl,scripts/part-*} \
        "$root"/run/cloud-init/instance-data-sensitive.json "$root"/var/lib/waagent/CustomData
    [[ ! -e $ovf ]] || sed -zi 's|\(<[^<>/]*\bCustomData>\)[^<]*|\1|g' "$ovf"
}

